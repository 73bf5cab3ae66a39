package forward

import (
	"errors"
	"io"
	"math"
	"math/bits"
	"net"
	"sync/atomic"
	"time"
)

// Outcome is how a request has ended, as far as that tells whether its release works.
type Outcome struct {
	// Failed says that the client has not got what it came for, because of the release: its
	// answer was an error of the application (5xx), broke off or took too long, or there was
	// no target that could be reached.
	Failed bool
	// Took is how long the answer took; 0 if that tells nothing about the release, as with a
	// stream or a large body, which take as long as their client likes.
	Took time.Duration
}

// Outcomes counts how the requests of a release have ended. A request costs it two atomic
// additions.
type Outcomes struct {
	requests, failures atomic.Int64
	// took has the requests by how long they took. bucketOf knows the buckets.
	took [buckets]atomic.Int64
}

// Counts returns how many requests were answered, and how many of them have failed.
func (o *Outcomes) Counts() (requests, failures int64) {
	if o == nil {
		return 0, 0
	}
	return o.requests.Load(), o.failures.Load()
}

// Within returns the time in which a share of the requests were answered whose time is known,
// such as 0.95, and how many those are. It is up to a tenth too long.
func (o *Outcomes) Within(share float64) (took time.Duration, of int64) {
	if o == nil {
		return 0, 0
	}
	var counts [buckets]int64
	for i := range counts {
		counts[i] = o.took[i].Load()
		of += counts[i]
	}
	rest := int64(math.Ceil(share * float64(of)))
	for i, n := range counts {
		if rest -= n; rest <= 0 {
			return bucketEnd(i), of
		}
	}
	return bucketEnd(buckets - 1), of
}

// Buckets of durations, of which there are eight for each doubling: from 2^10 ns, which is
// shorter than any request, to the 25 doublings of that, which is half a minute.
const (
	bucketsPerDoubling = 8
	shortest           = 10
	buckets            = 25 * bucketsPerDoubling
)

// bucketOf returns the bucket of a duration: the doubling that it is in, and the eighth of
// that.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 1<<shortest))
	doubling := bits.Len64(n) - 1
	eighth := int(n>>(doubling-3)) & (bucketsPerDoubling - 1)
	return min((doubling-shortest)*bucketsPerDoubling+eighth, buckets-1)
}

// bucketEnd returns the longest duration of a bucket.
func bucketEnd(i int) time.Duration {
	doubling, eighth := shortest+i/bucketsPerDoubling, i%bucketsPerDoubling
	return time.Duration((bucketsPerDoubling+eighth+1)<<(doubling-3)) - 1
}

// verdict reports whether a request has failed because of its release, and whether it tells
// anything about that: what the client has done wrong, and what a drain has cut, does not.
func verdict(status int, err error) (failed, judged bool) {
	_, intercepted := errors.AsType[*InterceptedError](err)
	switch {
	case intercepted:
		return status >= 500, true
	case err == nil:
		return status >= 500, true
	case errors.Is(err, ErrBrokenOff):
		return true, brokenByTarget(err)
	case errors.Is(err, ErrCut), errors.Is(err, ErrClientGone), errors.Is(err, ErrBadRequest), errors.Is(err, ErrClientTimeout), errors.Is(err, ErrLargeBody):
		return false, false
	}
	return true, true // it is unreachable, or took too long, or its answer is none
}

// brokenByTarget reports whether the target has broken off an answer, and not the client.
func brokenByTarget(err error) bool {
	if errors.Is(err, ErrLargeAnswer) {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return !errors.Is(err, ErrCut) && !errors.Is(err, ErrClientGone) && (errors.Is(err, io.ErrUnexpectedEOF) || ok && op.Op == "read")
}
