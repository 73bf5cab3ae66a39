package proxy

import (
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/analysis"
	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

const (
	// maxFailuresPerClient is how many failures of one client count within a minute: they are
	// not independent, and one crawler is to revert no release.
	maxFailuresPerClient = 3
	// maxTalliedClients bounds the clients whose failures are told apart.
	maxTalliedClients = 10_000
)

// tally counts how the requests of a release end while it is judged.
type tally struct {
	// slowerThan is from when on a request is slow; 0 if that is not known.
	slowerThan time.Duration
	// off says that nothing is to be counted, because time does not count either.
	off *atomic.Bool

	// mu guards what follows.
	mu    sync.Mutex
	total count
	// raw is how many requests there were, whether they count or not.
	raw     int64
	timed   int64
	slow    int64
	clients map[netip.Addr]*clientTally
	// forgotten says that there were more clients than are remembered.
	forgotten bool
}

// count is how many requests there were, and how many of them have failed.
type count struct{ requests, failures int64 }

func (c *count) add(other count, times int64) {
	c.requests += times * other.requests
	c.failures += times * other.failures
}

// clientTally is what one client has met.
type clientTally struct {
	// total is what counts of it, all minutes together, and raw how many requests it has sent.
	total count
	raw   int64
	// minute is the last one in which it has come, and now what it has met in that.
	minute int64
	now    count
}

// weighed returns what counts of what a client has met in a minute: as many failures as count
// of one client, and as large a part of what it has met otherwise.
func (c count) weighed() count {
	if c.failures <= maxFailuresPerClient {
		return c
	}
	successes := (c.requests - c.failures) * maxFailuresPerClient / c.failures
	return count{successes + maxFailuresPerClient, maxFailuresPerClient}
}

func newTally(off *atomic.Bool, slowerThan time.Duration) *tally {
	return &tally{off: off, slowerThan: slowerThan, clients: make(map[netip.Addr]*clientTally)}
}

// judge counts how a request has ended. It is told by the release.
func (t *tally) judge(in *http.Request, from *forward.Sender, o forward.Outcome) {
	if !t.off.Load() {
		t.count(clientAddr(in, *from), time.Now().Unix()/60, o)
	}
}

func (t *tally) count(client netip.Addr, minute int64, o forward.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.Took > 0 && t.slowerThan > 0 {
		t.timed++
		if o.Took > t.slowerThan {
			t.slow++
		}
	}
	c := t.clients[client]
	if c == nil {
		if len(t.clients) >= maxTalliedClients {
			clear(t.clients) // what they have met stays in the total
			t.forgotten = true
		}
		c = new(clientTally)
		t.clients[client] = c
	}
	if c.minute != minute {
		c.minute, c.now = minute, count{}
	}
	t.raw++
	c.raw++
	before := c.now.weighed()
	c.now.requests++
	if o.Failed {
		c.now.failures++
	}
	after := c.now.weighed()
	for _, to := range []*count{&t.total, &c.total} {
		to.add(before, -1)
		to.add(after, 1)
	}
}

// all returns what counts of what all clients have met.
func (t *tally) all() count {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// fewClients is how many clients are so few that one of them may well stand for many, as the
// address of a load balancer does that nobody has named.
const fewClients = 4

// withoutWorst returns what all clients have met without the one that has met most failures:
// one client with a problem of its own makes no bad release. It is not left out where it may
// stand for most of the people there are.
func (t *tally) withoutWorst() count {
	t.mu.Lock()
	defer t.mu.Unlock()
	worst := new(clientTally)
	for _, c := range t.clients {
		if c.total.failures > worst.total.failures {
			worst = c
		}
	}
	if len(t.clients) < fewClients && !t.forgotten && 2*worst.raw > t.raw {
		return t.total
	}
	rest := t.total
	rest.add(worst.total, -1)
	return rest
}

// times returns how many requests were timed, and how many of them were slow.
func (t *tally) times() (timed, slow int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.timed, t.slow
}

// evidence is what a release is judged by.
type evidence struct {
	next, before *tally
	// lastHour is what the release before had before that, and before what it has in the same
	// time; before is nil if it does not serve any more.
	lastHour              count
	maxErrorRate, maxSlow float64
}

// previous returns how the requests to the release before have ended.
func (e *evidence) previous() count {
	if e.before == nil {
		return e.lastHour
	}
	return e.before.all()
}

// maxPastLimit is the highest limit that what the release before had earlier can lead to: with
// a higher one, hardly any release would be found to be bad. What it has in the same time may
// lead to any: an outage can hit all requests.
const maxPastLimit = 0.5

// limit returns the failure rate that the release is judged against.
func (e *evidence) limit() float64 {
	limit := max(e.maxErrorRate, min(maxPastLimit, analysis.Limit(0, e.lastHour.failures, e.lastHour.requests)))
	if e.before == nil {
		return limit
	}
	now := e.before.all()
	return analysis.Limit(limit, now.failures, now.requests)
}

// slowLimit returns the share of slow requests that it is judged against.
func (e *evidence) slowLimit() float64 {
	if e.before == nil {
		return e.maxSlow
	}
	timed, slow := e.before.times()
	return analysis.Limit(e.maxSlow, slow, timed)
}

// fails reports whether the release fails more than it may, and isSlow whether it is slow more
// often than it may.
func (e *evidence) fails() bool {
	c := e.next.withoutWorst()
	return analysis.Bad(c.failures, c.requests, e.limit())
}

func (e *evidence) isSlow() bool {
	timed, slow := e.next.times()
	return e.maxSlow > 0 && analysis.Bad(slow, timed, e.slowLimit())
}

// status describes e.
func (e *evidence) status() api.Evidence {
	all, judged, previous, limit := e.next.all(), e.next.withoutWorst(), e.previous(), e.limit()
	s := api.Evidence{
		Requests: all.requests, Failures: all.failures, Limit: api.PercentOf(limit),
		PreviousRequests: previous.requests, PreviousFailures: previous.failures,
		Odds: min(analysis.Odds(judged.failures, judged.requests, limit), maxOdds),
	}
	if e.next.slowerThan > 0 && e.maxSlow > 0 {
		s.Timed, s.Slow = e.next.times()
		s.SlowerThan = api.Seconds(e.next.slowerThan)
		s.Odds = max(s.Odds, min(analysis.Odds(s.Slow, s.Timed, e.slowLimit()), maxOdds))
	}
	return s
}

// maxOdds bounds the odds that are told: infinity is no number in JSON.
const maxOdds = 1e12
