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

// Counts are the requests to a release that one process has counted while it was judged.
type Counts struct {
	Requests int64 `json:"requests,omitempty"`
	Failures int64 `json:"failures,omitempty"`
	// JudgedRequests and JudgedFailures are those of them that it is judged by.
	JudgedRequests int64 `json:"judged_requests,omitempty"`
	JudgedFailures int64 `json:"judged_failures,omitempty"`
	// Timed are those of which it is known how long they took, Slow the slow ones.
	Timed int64 `json:"timed,omitempty"`
	Slow  int64 `json:"slow,omitempty"`
}

func (c *Counts) add(o Counts) {
	c.Requests += o.Requests
	c.Failures += o.Failures
	c.JudgedRequests += o.JudgedRequests
	c.JudgedFailures += o.JudgedFailures
	c.Timed += o.Timed
	c.Slow += o.Slow
}

// counts returns what t has counted; nothing for nil.
func (t *tally) counts() Counts {
	if t == nil {
		return Counts{}
	}
	all, judged := t.all(), t.withoutWorst()
	timed, slow := t.times()
	return Counts{all.requests, all.failures, judged.requests, judged.failures, timed, slow}
}

// Counted are the counts of a rollout in one process.
type Counted struct {
	// Next are the requests to the release that is tried, Before those to the one before in the same time, and LastHour
	// those that this had before that.
	Next     Counts `json:"next,omitzero"`
	Before   Counts `json:"before,omitzero"`
	LastHour Counts `json:"last_hour,omitzero"`
}

func (c *Counted) add(o Counted) {
	c.Next.add(o.Next)
	c.Before.add(o.Before)
	c.LastHour.add(o.LastHour)
}

// evidence is what a release is judged by.
type evidence struct {
	// phase is that of the rollout in which it is.
	phase        api.RolloutPhase
	next, before *tally
	// lastHour is what the release before had before that, and before what it has in the same
	// time; before is nil if it does not serve any more. hour is what it had in this process, if that is one of several.
	lastHour, hour count
	// others is what the other proxies of a fleet have counted.
	others                Counted
	maxErrorRate, maxSlow float64
}

// own returns what this process has counted.
func (e *evidence) own() Counted {
	return Counted{Next: e.next.counts(), Before: e.before.counts(), LastHour: Counts{Requests: e.hour.requests, Failures: e.hour.failures}}
}

// all returns how the requests to the release have ended, and judged those of them that it is judged by.
func (e *evidence) all() count {
	c := e.next.all()
	c.add(count{e.others.Next.Requests, e.others.Next.Failures}, 1)
	return c
}

func (e *evidence) judged() count {
	c := e.next.withoutWorst()
	c.add(count{e.others.Next.JudgedRequests, e.others.Next.JudgedFailures}, 1)
	return c
}

// times returns how many requests to the release were timed, and how many of them were slow.
func (e *evidence) times() (timed, slow int64) {
	timed, slow = e.next.times()
	return timed + e.others.Next.Timed, slow + e.others.Next.Slow
}

// meanwhile returns how those to the release before have ended in the same time.
func (e *evidence) meanwhile() count {
	c := e.before.all()
	c.add(count{e.others.Before.Requests, e.others.Before.Failures}, 1)
	return c
}

// past returns how those to the release before had ended before that: what all processes know, or what is stored, if
// most of them have been restarted since.
func (e *evidence) past() count {
	known := e.hour
	known.add(count{e.others.LastHour.Requests, e.others.LastHour.Failures}, 1)
	if known.requests > e.lastHour.requests {
		return known
	}
	return e.lastHour
}

// previous returns how the requests to the release before have ended.
func (e *evidence) previous() count {
	if e.before == nil {
		return e.past()
	}
	return e.meanwhile()
}

// maxPastLimit is the highest limit that what the release before had earlier can lead to: with
// a higher one, hardly any release would be found to be bad. What it has in the same time may
// lead to any: an outage can hit all requests.
const maxPastLimit = 0.5

// limit returns the failure rate that the release is judged against.
func (e *evidence) limit() float64 {
	past := e.past()
	limit := max(e.maxErrorRate, min(maxPastLimit, analysis.Limit(0, past.failures, past.requests)))
	if e.before == nil {
		return limit
	}
	now := e.meanwhile()
	return analysis.Limit(limit, now.failures, now.requests)
}

// slowLimit returns the share of slow requests that it is judged against.
func (e *evidence) slowLimit() float64 {
	if e.before == nil {
		return e.maxSlow
	}
	timed, slow := e.before.times()
	return analysis.Limit(e.maxSlow, slow+e.others.Before.Slow, timed+e.others.Before.Timed)
}

// fails reports whether the release fails more than it may, and isSlow whether it is slow more
// often than it may.
func (e *evidence) fails() bool {
	c := e.judged()
	return analysis.Bad(c.failures, c.requests, e.limit())
}

func (e *evidence) isSlow() bool {
	timed, slow := e.times()
	return e.maxSlow > 0 && analysis.Bad(slow, timed, e.slowLimit())
}

// status describes e.
func (e *evidence) status() api.Evidence {
	all, judged, previous, limit := e.all(), e.judged(), e.previous(), e.limit()
	s := api.Evidence{
		Requests: all.requests, Failures: all.failures, Limit: api.PercentOf(limit),
		PreviousRequests: previous.requests, PreviousFailures: previous.failures,
		Odds: min(analysis.Odds(judged.failures, judged.requests, limit), maxOdds),
	}
	if e.next.slowerThan > 0 && e.maxSlow > 0 {
		s.Timed, s.Slow = e.times()
		s.SlowerThan = api.Seconds(e.next.slowerThan)
		s.Odds = max(s.Odds, min(analysis.Odds(s.Slow, s.Timed, e.slowLimit()), maxOdds))
	}
	return s
}

// maxOdds bounds the odds that are told: infinity is no number in JSON.
const maxOdds = 1e12
