package proxy

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// rollout brings a release into service that does not serve all from one moment on: a canary
// gets a share of the clients, and a watched release serves all, while the one before is ready
// to serve again. It lasts until the release is trusted, or has left again.
//
// A goroutine of the engine moves it on; see [Engine.runRollout]. Whoever has the commit slot of
// the service changes its line-up and its position.
type rollout struct {
	spec api.Rollout
	// next is the release that is brought into service, previous the one before it.
	next, previous *release
	// d is the deployment of next; nil after a restart of the proxy.
	d *Deployment
	// running says that a goroutine moves it on.
	running atomic.Bool
	// restored says that it goes on after a restart.
	restored bool
	// shared says that it is one of a fleet: every proxy has its clock go on and counts, one of them decides.
	shared bool
	// followed says that another process or proxy decides, and tells of it.
	followed atomic.Bool
	// ended is closed when it has ended, and undecided when it first waits for somebody to
	// decide.
	ended, undecided chan struct{}
	// checks has what the check has answered.
	checks chan checked

	// off has the tallies count nothing.
	off atomic.Bool

	// mu guards what follows.
	mu sync.Mutex
	at position
	// epoch counts the positions: what was decided about one says nothing about the next.
	epoch int
	// evidence is what next is judged by in this phase.
	evidence evidence
	// stepRequests is how many requests next had had when the step began.
	stepRequests int64
	// era counts how often next was judged anew because previous failed as well. In a fleet, only counts of one era
	// are added.
	era int
	// hour is what previous had in its last hour in this process.
	hour count
	// others are the counts of the other processes of the fleet by their ids, also of those that are gone, and alive
	// has the ids of those that are not.
	others map[string]Counted
	alive  map[string]bool
	// noWayBack says why it cannot be gone back to previous at the moment; empty if it can. theirNoWayBack is what
	// the proxy says that decides.
	noWayBack, theirNoWayBack string
	// probeAgain is when previous is asked again whether it can serve, checkAgain when the
	// check is asked again, and warnAgain when it is told again that it cannot go on.
	probeAgain, checkAgain, warnAgain time.Time
	// checking says that the check is being asked.
	checking bool
	// end says how it has ended.
	end end
}

// position is where a rollout stands. It is what is stored of it.
type position struct {
	Phase api.RolloutPhase `json:"phase"`
	// Step is the index of the step.
	Step int `json:"step,omitempty"`
	// Weight is the share of next, if somebody has set it.
	Weight *api.Percent `json:"weight,omitempty"`
	// Remaining is what is left of the time of the step or the watch. It is a time and no
	// instant, because clocks jump.
	Remaining api.Duration `json:"remaining,omitempty"`
	// Timed says that it ends when that is over.
	Timed bool `json:"timed,omitempty"`
	// Paused says why it does not go on by itself; empty if it does. ByHand says that somebody
	// has paused it.
	Paused string `json:"paused,omitempty"`
	ByHand bool   `json:"by_hand,omitempty"`
	// Requests and Failures are those of the release before, which a watch compares with.
	Requests int64 `json:"requests,omitempty"`
	Failures int64 `json:"failures,omitempty"`
	// SlowerThan is from when on a request is slow.
	SlowerThan api.Duration `json:"slower_than,omitempty"`
	// Turn counts the positions of a rollout of a fleet, so that a proxy knows whether it stands where another one
	// does, and its own clock is right. It is since format 5.
	Turn int `json:"turn,omitempty"`
}

// end is how a rollout has ended.
type end struct {
	how endKind
	// reason is a sentence that says why, of a release that has left.
	reason string
	// previousStays says that the release before is ready to serve again, or serves.
	previousStays bool
}

type endKind string

const (
	// promoted is a release that is trusted.
	promoted endKind = "promoted"
	// reverted is a release that has left again.
	reverted endKind = "reverted"
	// replaced is one that a newer deployment has taken the place of.
	replaced endKind = "replaced"
	// removed is one whose service is gone.
	removed endKind = "removed"
	// interrupted is one that goes on when the proxy runs again.
	interrupted endKind = "interrupted"
	// handedOver is one that another process has go on.
	handedOver endKind = "handed over"
)

// newRollout returns a rollout that begins. Engine.mu must be held.
func newRollout(spec api.Rollout, next, previous *release, d *Deployment) *rollout {
	r := restoredRollout(spec, next, previous, position{})
	r.d, r.restored = d, false
	switch {
	case len(spec.Steps) > 0:
		r.at = r.stepAt(0)
	case spec.SlowStart > 0:
		r.at = position{Phase: api.PhaseSlowStart, Remaining: spec.SlowStart, Timed: true}
	default:
		r.at = r.watchAt()
	}
	r.at.compareWith(previous)
	return r
}

// restoredRollout returns a rollout that was stored.
func restoredRollout(spec api.Rollout, next, previous *release, at position) *rollout {
	return &rollout{
		spec: spec, next: next, previous: previous, at: at, restored: true,
		ended: make(chan struct{}), undecided: make(chan struct{}), checks: make(chan checked, 1),
	}
}

// again returns r as it goes on after another process has had it.
func (r *rollout) again() *rollout {
	next := restoredRollout(r.spec, r.next, r.previous, r.position())
	next.shared = r.shared
	return next
}

// stepAt returns the position at the beginning of a step.
func (r *rollout) stepAt(i int) position {
	s := r.spec.Steps[i]
	return position{Phase: api.PhaseCanary, Step: i, Remaining: s.For, Timed: s.For > 0}
}

// watchAt returns the position at the beginning of the watch.
func (r *rollout) watchAt() position {
	return position{Phase: api.PhaseWatch, Remaining: r.spec.Watch, Timed: true}
}

// weight returns the share of next.
func (r *rollout) weight() api.Percent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at.weight(&r.spec)
}

// waits reports whether a rollout waits for somebody to decide.
func (at *position) waits() bool { return !at.Timed || at.Paused != "" && !at.ByHand }

func (at *position) weight(spec *api.Rollout) api.Percent {
	switch {
	case at.Weight != nil:
		return *at.Weight
	case at.Phase == api.PhaseCanary:
		return spec.Steps[at.Step].Weight
	case at.Phase == api.PhaseSlowStart:
		return api.PercentOf(1 - float64(at.Remaining)/float64(spec.SlowStart))
	}
	return api.Whole
}

// position returns where r stands.
func (r *rollout) position() position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// move has r stand where to says, which is told where it stands, and returns what undoes that.
// The commit slot must be held: nobody else moves r meanwhile.
func (r *rollout) move(to func(position) position) (undo func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, requests := r.at, r.stepRequests
	r.at = to(r.at)
	if r.at == before {
		return func() {}
	}
	if r.shared {
		r.at.Turn = before.Turn + 1
	}
	r.begin()
	epoch := r.epoch
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.at = before; r.epoch == epoch {
			r.stepRequests = requests // else it is judged anew since
		}
	}
}

// begin begins to judge by what comes from now on whether next has had enough requests. r.mu must be held.
func (r *rollout) begin() {
	r.epoch++
	if r.stepRequests = 0; r.evidence.next != nil {
		r.stepRequests = r.evidence.all().requests
	}
}

// adopt has r stand where another proxy of the fleet has decided, and returns where it stood. If that is where it
// stands, its own clock is the better one. The commit slot must be held.
func (r *rollout) adopt(at position) (from position, moved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from = r.at; at.Turn == from.Turn {
		return from, false
	}
	r.at = at
	r.begin()
	return from, true
}

// finish ends r. The commit slot must be held, so that a rollout which begins meanwhile is not
// told of less than it should be.
func (r *rollout) finish(e end) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isOver() {
		return
	}
	r.end = e
	r.next.Judge(nil)
	r.previous.Judge(nil)
	close(r.ended)
}

// isOver reports whether r has ended.
func (r *rollout) isOver() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// isHandedOver reports whether another process has r go on.
func (r *rollout) isHandedOver() bool {
	over := r.isOver()
	r.mu.Lock()
	defer r.mu.Unlock()
	return over && r.end.how == handedOver
}

// outcome returns what whoever waits for the deployment is told: nil if its release is, or was,
// trusted.
func (r *rollout) outcome() error {
	over := r.isOver()
	r.mu.Lock()
	defer r.mu.Unlock()
	name, version := r.next.Spec.Service, r.next.Version
	served := r.at.Phase == api.PhaseWatch
	switch {
	case !over && r.at.Paused != "":
		return undecided(name, fmt.Sprintf("%s v%d waits for a decision: %s", name, version, r.at.Paused))
	case !over:
		return undecided(name, fmt.Sprintf("%s v%d gets %s of the clients until somebody decides", name, version, r.at.weight(&r.spec)))
	case r.end.how == reverted:
		return &api.Error{Code: api.CodeReverted, Message: fmt.Sprintf("%s v%d was taken back: %s; v%d serves all", name, version, r.end.reason, r.previous.Version)}
	case r.end.how == interrupted:
		if r.shared {
			err := &api.Error{Code: api.CodeUndecided, Message: fmt.Sprintf("the proxy is stopping; the rollout of %s v%d goes on on the other proxies of the fleet", name, version)}
			return err.WithHint("wait for it on another one: %s", api.Operation("wait "+api.ShellWord(name)))
		}
		err := &api.Error{Code: api.CodeUndecided, Message: fmt.Sprintf("the proxy is stopping; when it runs again, the rollout of %s v%d goes on", name, version)}
		return err.WithHint("then wait for it: %s", api.Operation("wait "+api.ShellWord(name)))
	case r.end.how == handedOver:
		return &api.Error{Code: api.CodeUndecided, Message: fmt.Sprintf("another process has taken over from this one, and has the rollout of %s v%d go on", name, version), Cause: ErrElsewhere}
	case r.end.how == promoted:
		return nil
	case served:
		text := fmt.Sprintf("%s v%d was still watched when %s", name, version, r.end.reason)
		if r.end.previousStays {
			text += fmt.Sprintf("; v%d stays ready to serve again", r.previous.Version)
		}
		return &api.Error{Code: api.CodeSuperseded, Message: text}
	}
	return &api.Error{Code: api.CodeSuperseded, Message: fmt.Sprintf("%s v%d had a share of the clients, and has left: %s", name, version, r.end.reason)}
}

// undecided is the error of a deployment whose release waits for somebody to decide.
func undecided(service, message string) *api.Error {
	name := api.ShellWord(service)
	err := &api.Error{Code: api.CodeUndecided, Message: message}
	return err.WithHint("%s, %s or %s", api.Operation("rollout status "+name), api.Operation("rollout promote "+name), api.Operation("rollout abort "+name))
}

// checkCanary returns why a release cannot have a share of the clients of another one: clients
// would be told apart by what they ask for, and not by the share.
func checkCanary(serving, next *api.Spec) error {
	if !next.Rollout.IsCanary() {
		return nil
	}
	what := ""
	switch a, b := serving.Options.TLS, next.Options.TLS; {
	case !sameRoutes(serving.Routes, next.Routes):
		what = "routes"
	case (a == nil) != (b == nil) || a != nil && *a != *b:
		what = "TLS settings"
	case serving.Options.CanonicalHost != next.Options.CanonicalHost:
		what = "canonical host"
	default:
		return nil
	}
	return api.Invalid("a canary has to have the %s of the release that serves", what).
		WithHint("deploy without %s, %s and %s, or change them with a deploy of its own first", api.Field("canary"), api.Field("steps"), api.Field("slow_start"))
}

// tellUndecided tells whoever waits for the deployment that somebody has to decide.
func (r *rollout) tellUndecided() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.undecided:
	default:
		close(r.undecided)
	}
}

// compareWith notes what requests to a release are like. Engine.mu must be held.
func (at *position) compareWith(r *release) {
	at.Requests, at.Failures = r.lastHour()
	at.SlowerThan = api.Duration(r.slowerThan())
}

// judge begins to judge next in the phase that r is in, or begins anew.
func (r *rollout) judge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isOver() {
		r.judgeAnew()
	}
}

// judgeAnew is judge. r.mu must be held, and r not be over.
func (r *rollout) judgeAnew() {
	e := evidence{phase: r.at.Phase, maxErrorRate: r.spec.MaxErrorRate.Fraction(), maxSlow: r.spec.MaxSlow.Fraction()}
	if r.at.Phase == api.PhaseSlowStart {
		e.maxErrorRate = 1 // which nothing exceeds
	}
	e.lastHour, e.hour = count{r.at.Requests, r.at.Failures}, r.hour
	e.next = newTally(&r.off, time.Duration(r.at.SlowerThan))
	r.next.Judge(e.next.judge)
	r.previous.Judge(nil)
	if r.at.Phase == api.PhaseCanary {
		e.before = newTally(&r.off, time.Duration(r.at.SlowerThan))
		r.previous.Judge(e.before.judge)
	}
	r.evidence, r.stepRequests = e, 0
	r.others, r.theirNoWayBack = make(map[string]Counted), ""
}

// advance has time go on for r, and judges next.
func (r *rollout) advance(elapsed time.Duration, held bool) judgement {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := judgement{epoch: r.epoch}
	stands := held || r.at.Paused != ""
	r.off.Store(stands)
	if stands {
		return j
	}
	if r.at.Timed {
		r.at.Remaining = max(0, r.at.Remaining-api.Duration(elapsed))
	}
	switch reason := r.whyBad(); {
	case reason != "":
		j.verdict, j.reason = fails, reason
	case r.at.Timed && r.at.Remaining == 0:
		j.verdict = timeOver
	case r.noWayBack != "" && time.Now().After(r.probeAgain):
		r.noWayBack = "" // it does not fail any more
	}
	return j
}

// enough reports whether next has had the requests in this step that it takes to trust it. If
// not, why says so, and suspicious is whether more of them have failed than may.
func (r *rollout) enough() (enough, suspicious bool, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.Phase == api.PhaseSlowStart {
		return true, false, ""
	}
	all := r.evidence.all()
	had := all.requests - r.stepRequests
	if had >= int64(r.spec.MinRequests) {
		return true, false, ""
	}
	why = fmt.Sprintf("v%d had %d of the %d requests that it takes to judge it", r.next.Version, had, r.spec.MinRequests)
	if all.failures > 0 {
		why += fmt.Sprintf(", and %d failed", all.failures)
	}
	return false, float64(all.failures) > r.evidence.limit()*float64(all.requests), why
}

// whyBad says why next is taken for bad; empty if it is not. r.mu must be held.
func (r *rollout) whyBad() string {
	switch {
	case r.evidence.next == nil: // it is not judged yet
		return ""
	case r.evidence.fails():
		s := r.evidence.status()
		text := fmt.Sprintf("%d of %s to v%d failed (limit %s", s.Failures, api.Count(int(s.Requests), "request"), r.next.Version, s.Limit)
		if s.PreviousRequests > 0 {
			text += fmt.Sprintf("; v%d: %d of %d", r.previous.Version, s.PreviousFailures, s.PreviousRequests)
		}
		return text + ")"
	case r.evidence.isSlow():
		s := r.evidence.status()
		return fmt.Sprintf("%d of %s to v%d took longer than %s, in which 95%% of those to v%d are answered",
			s.Slow, api.Count(int(s.Timed), "request"), r.next.Version, time.Duration(s.SlowerThan).Round(10*time.Microsecond), r.previous.Version)
	case r.next.AllFailing():
		return fmt.Sprintf("no target of v%d passes its health check", r.next.Version)
	}
	return ""
}

// status describes r. held says that its service is paused or stopped.
func (r *rollout) status(held bool) *api.RolloutStatus {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := api.RolloutStatus{
		Phase: r.at.Phase, Release: r.next.Version, Previous: r.previous.Version,
		Weight: r.at.weight(&r.spec), Steps: len(r.spec.Steps), Waiting: r.at.Paused,
	}
	if r.at.Phase == api.PhaseCanary {
		s.Step = r.at.Step + 1
	}
	if r.at.Timed {
		left := api.Seconds(r.at.Remaining)
		s.RemainingSeconds = &left
	}
	switch {
	case s.Waiting != "":
	case held:
		s.Waiting = "the service is paused or stopped"
	case r.noWayBack != "":
		s.Waiting = r.noWayBack
	case r.theirNoWayBack != "":
		s.Waiting = r.theirNoWayBack
	}
	if r.evidence.next != nil {
		s.Evidence = r.evidence.status()
	}
	return &s
}

// interval returns how often is looked whether r goes on.
func (r *rollout) interval() time.Duration {
	shortest := time.Second
	durations := []api.Duration{r.spec.Watch, r.spec.SlowStart / 4}
	for _, s := range r.spec.Steps {
		durations = append(durations, s.For)
	}
	for _, d := range slices.DeleteFunc(durations, func(d api.Duration) bool { return d <= 0 }) {
		shortest = min(shortest, time.Duration(d)/5)
	}
	return max(shortest, 2*time.Millisecond)
}

// currentEpoch returns the epoch of the position that r is in.
func (r *rollout) currentEpoch() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}
