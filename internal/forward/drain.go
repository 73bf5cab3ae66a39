package forward

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// closeGap is the pause between two stream closes, unless there are so many that
// the stream timeout asks for shorter ones. A handful of streams thus closes
// almost at once, and thousands of clients do not reconnect in one instant.
const closeGap = 50 * time.Millisecond

// cutGrace is how long what has been cut may take to notice.
const cutGrace = 5 * time.Second

// Drain waits until r, which must not be reachable any more, holds nothing. It
// closes streams politely, cuts what does not end within limits, and gives up
// r's connections. progress, if not nil, is called now and then with what is
// left.
func (r *Release) Drain(limits api.DrainLimits, progress func(requests, streams int)) api.Drain {
	start, changes := time.Now(), r.changes()
	r.StopMonitor()
	r.StopAcquiring()
	r.replaced.end()

	d := api.Drain{Release: r.Version, Targets: r.Targets(), Requests: r.InFlight()}
	d.Streams = r.scheduleCloses(start, limits.Streams)

	cutRequests := time.NewTimer(limits.Requests)
	defer cutRequests.Stop()
	beginCuts := time.NewTimer(limits.Streams + streamLinger)
	defer beginCuts.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	// A handler that has been cut but is stuck in a write to its client notices by
	// the server's own timeouts: it is given up on. Its target is let go all the same.
	var giveUpRequests, giveUpStreams <-chan time.Time
	var stuckRequests, stuckStreams bool
	var turn <-chan time.Time
	for (r.InFlight() > 0 && !stuckRequests) || (r.Streams() > 0 && !stuckStreams) || r.hasUncutStreams() {
		select {
		case <-changes:
		case <-tick.C:
			if progress != nil {
				progress(r.InFlight(), r.Streams())
			}
		case <-cutRequests.C:
			d.CutRequests = r.InFlight()
			r.cut.end()
			giveUpRequests = time.After(cutGrace)
		case <-beginCuts.C:
			turns := time.NewTicker(streamLinger / lingerTurns)
			defer turns.Stop()
			turn = turns.C
		case <-turn: // to the end: a request may still turn into a stream
			runtime.Gosched() // a timer wakes us before those that have waited longer
			if n := r.cutOverdueStreams(time.Since(start) > limits.Requests); n > 0 {
				d.CutStreams += n
				giveUpStreams, stuckStreams = time.After(cutGrace), false
			}
		case <-giveUpRequests:
			stuckRequests = true
		case <-giveUpStreams:
			stuckStreams = true
		}
	}
	r.Close()
	d.Elapsed = api.Since(start)
	return d
}

// idlePoll is the pause between two looks of AwaitIdle.
const idlePoll = 10 * time.Millisecond

// AwaitIdle returns when no request is in flight, or when ctx has ended.
func (r *Release) AwaitIdle(ctx context.Context) {
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for r.InFlight() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// cutOverdueStreams cuts the streams that were asked to close long enough ago, and
// returns their number. late says that the time of requests is over.
func (r *Release) cutOverdueStreams(late bool) (n int) {
	for _, s := range r.openStreams() {
		if s.cutIfOverdue(late) {
			n++
		}
	}
	return n
}

func (r *Release) hasUncutStreams() bool {
	return slices.ContainsFunc(r.openStreams(), func(s *stream) bool { return !s.wasCut() })
}

// scheduleCloses spreads the polite closes of r's streams so that the last one
// comes when the stream timeout is over, and returns their number.
func (r *Release) scheduleCloses(start time.Time, timeout time.Duration) int {
	r.streamsMu.Lock()
	r.closeStreamsAt = start.Add(timeout)
	r.streamsMu.Unlock()
	// A stream that registers from here on finds closeStreamsAt.
	streams := r.openStreams()
	gap := closeGap
	if n := len(streams); n > 0 {
		gap = min(gap, timeout/time.Duration(n))
	}
	for i, s := range streams {
		s.closeAfter(timeout - time.Duration(i)*gap)
	}
	return len(streams)
}

// Shutdown closes r's streams politely, spread over the given time, and waits
// for them until ctx ends. Requests are left to the server, which waits for them.
func (r *Release) Shutdown(ctx context.Context, spread time.Duration) {
	changes := r.changes()
	r.StopMonitor()
	r.scheduleCloses(time.Now(), spread)
	// If r drains, the drain may be the one that is woken.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for r.Streams() > 0 {
		select {
		case <-changes:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
