package forward

import (
	"errors"
	"math"
	"net/http"
	"sync/atomic"
	"time"
)

// Traffic counts what a service has carried, over all its releases. A request costs it a
// few atomic additions: it is read when somebody asks, which is seldom.
type Traffic struct {
	// counts is nil before the first request: of thousands of services, most have none for
	// long, and the counters are most of what a service takes.
	counts   atomic.Pointer[requestCounts]
	held     atomic.Int64
	retries  atomic.Int64
	received atomic.Int64
	sent     atomic.Int64
	// buffering are the requests whose bodies are read at this moment, before they have a target.
	buffering atomic.Int64
	// largeBodies are the requests, and largeAnswers the answers, that were larger than they may be.
	largeBodies, largeAnswers atomic.Int64
}

// requestCounts counts the requests that were answered.
type requestCounts struct {
	requests [len(methods)][len(classes)]atomic.Int64
	// durations has the requests that took as long as durationBounds says, and the last
	// those that took longer.
	durations [len(durationBounds) + 1]atomic.Int64
	took      atomic.Int64 // nanoseconds, of all requests
}

// noRequests stands for the counters of a service that has had none.
var noRequests requestCounts

// read returns the counters to read.
func (t *Traffic) read() *requestCounts {
	if c := t.counts.Load(); c != nil {
		return c
	}
	return &noRequests
}

// write returns the counters to add to.
func (t *Traffic) write() *requestCounts {
	if c := t.counts.Load(); c != nil {
		return c
	}
	t.counts.CompareAndSwap(nil, new(requestCounts))
	return t.counts.Load()
}

// methods are the methods that are told apart. Clients may make up others.
var methods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace, "OTHER",
}

// classes are the classes of status codes (RFC 9110, section 15).
var classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

// durationBounds are the upper bounds of the durations that are told apart, in order.
var durationBounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Count counts a request that was answered with status after took.
func (t *Traffic) Count(method string, status int, took time.Duration) {
	to, m := t.write(), 0
	for m < len(methods)-1 && methods[m] != method {
		m++
	}
	// What is no status of HTTP's is what a client takes it for: an error of the server.
	class := len(classes) - 1
	if status >= 100 && status <= 599 {
		class = status/100 - 1
	}
	to.requests[m][class].Add(1)
	i := 0
	for i < len(durationBounds) && took > durationBounds[i] {
		i++
	}
	to.durations[i].Add(1)
	to.took.Add(int64(took))
}

// Requests calls f with the number of requests of every class and method. Of a method
// that nobody has used there is nothing to tell, but that GET is always told.
func (t *Traffic) Requests(f func(method, class string, n int64)) {
	from := t.read()
	for m, method := range methods {
		used := m == 0
		for c := range classes {
			used = used || from.requests[m][c].Load() > 0
		}
		for c, class := range classes {
			if used {
				f(method, class, from.requests[m][c].Load())
			}
		}
	}
}

// Durations returns how many requests there were, how many seconds they took in all, and
// how many took at most as many seconds as each key says.
func (t *Traffic) Durations() (count uint64, sum float64, atMost map[float64]uint64) {
	from := t.read()
	atMost = make(map[float64]uint64, len(durationBounds))
	for i := range from.durations {
		count += uint64(from.durations[i].Load())
		if i < len(durationBounds) {
			atMost[durationBounds[i].Seconds()] = count
		}
	}
	return count, math.Max(0, time.Duration(from.took.Load()).Seconds()), atMost
}

// Held returns the number of requests that are held at this moment, because no target
// can be reached.
func (t *Traffic) Held() int { return int(t.held.Load()) }

// Buffering returns the number of requests whose bodies are buffered at this moment.
func (t *Traffic) Buffering() int { return int(t.buffering.Load()) }

// Large returns how many requests, and how many answers, were larger than they may be.
func (t *Traffic) Large() (requests, answers int64) {
	return t.largeBodies.Load(), t.largeAnswers.Load()
}

// noteLarge counts a request that has ended with err, if that is about the size of a body.
func (t *Traffic) noteLarge(err error) {
	switch {
	case errors.Is(err, ErrLargeBody):
		t.largeBodies.Add(1)
	case errors.Is(err, ErrLargeAnswer):
		t.largeAnswers.Add(1)
	}
}

// Retries returns how often a request was sent once more.
func (t *Traffic) Retries() int64 { return t.retries.Load() }

// Received returns the bytes that clients have sent: bodies of requests, and what has been
// said on upgraded connections.
func (t *Traffic) Received() int64 { return t.received.Load() }

// Sent returns the bytes that clients were sent: bodies of answers, and what has been said
// on upgraded connections.
func (t *Traffic) Sent() int64 { return t.sent.Load() }
