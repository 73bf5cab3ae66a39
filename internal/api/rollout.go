package api

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Defaults and bounds of how a release is brought into service.
const (
	DefaultMaxErrorRate = "1%"
	DefaultMinRequests  = 20
	MaxMinRequests      = 1_000_000
	MaxSteps            = 20
	// maxLimit bounds the rates that a release is judged by: above it, hardly any release is
	// worse.
	maxLimit Percent = 5000
	// minStep is the shortest time of a step, of a slow start and of a watch.
	minStep = Duration(10 * time.Millisecond)
)

// OnInconclusive says what becomes of a release that could not be judged when its time is
// over, because it had too few requests.
type OnInconclusive string

// The values of [DeployRequest.OnInconclusive].
const (
	// InconclusivePause has the rollout wait for a decision.
	InconclusivePause OnInconclusive = "pause"
	// InconclusivePromote trusts the release.
	InconclusivePromote OnInconclusive = "promote"
	// InconclusiveAbort goes back to the release before.
	InconclusiveAbort OnInconclusive = "abort"
)

// Step is a part of a rollout: a share of the clients for a time.
type Step struct {
	Weight Percent
	// For is how long the step lasts; 0 lasts until somebody decides.
	For Duration
}

// String returns the step as it is written: "25%/5m", or "25%" for one without a time.
func (s Step) String() string {
	if s.For == 0 {
		return s.Weight.String()
	}
	return s.Weight.String() + "/" + s.For.String()
}

// MarshalText implements encoding.TextMarshaler.
func (s Step) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Step) UnmarshalText(text []byte) error {
	weight, duration, timed := strings.Cut(string(text), "/")
	var err error
	if s.Weight, err = ParsePercent(weight); err != nil {
		return err
	}
	if s.For = 0; !timed {
		return nil
	}
	if s.For, err = ParseDuration(duration); err == nil && (s.For < minStep || s.For > MaxTimeout) {
		err = fmt.Errorf("a step lasts from %s to %s, and not %s", minStep, boundName(MaxTimeout), s.For)
	}
	return err
}

// Rollout is how a release is brought into service: at once if it is the zero value. It
// belongs to one deployment; later ones do not keep it.
type Rollout struct {
	// Steps are the shares of the clients that the release gets one after the other before it
	// gets all; none if it gets all at once.
	Steps []Step `json:"steps,omitempty"`
	// SlowStart is the time in which its share grows evenly from nothing to all; 0 if it has
	// all at once.
	SlowStart Duration `json:"slow_start,omitempty"`
	// Watch is for how long the release before stays ready once the new one serves all; 0 lets
	// it go at once.
	Watch Duration `json:"watch,omitempty"`
	// Keep has the release before stay ready until the next deploy.
	Keep bool `json:"keep,omitempty"`
	// By says what a client is known by; see [DeployRequest.CanaryBy].
	By string `json:"canary_by,omitempty"`
	// MaxErrorRate, MaxSlow, MinRequests, OnInconclusive and CheckURL are what the release is
	// judged by. MaxSlow is 0 if it may be slow.
	MaxErrorRate   Percent        `json:"max_error_rate,omitempty"`
	MaxSlow        Percent        `json:"max_slow,omitempty"`
	MinRequests    int            `json:"min_requests,omitempty"`
	OnInconclusive OnInconclusive `json:"on_inconclusive,omitempty"`
	CheckURL       string         `json:"check_url,omitempty"`
}

// IsCanary reports whether the release gets a share of the clients first. r may be nil.
func (r *Rollout) IsCanary() bool { return r != nil && (len(r.Steps) > 0 || r.SlowStart > 0) }

// Header returns the name of the header field that clients are known by, if they are.
func (r *Rollout) Header() (string, bool) { return strings.CutPrefix(r.By, "header:") }

// Cookie returns the name of the cookie of the application's that clients are known by, if they
// are.
func (r *Rollout) Cookie() (string, bool) { return strings.CutPrefix(r.By, "cookie:") }

// Validate returns an [Error] with [CodeInvalid] if a value is out of its bounds.
func (r *Rollout) Validate() error {
	switch {
	case len(r.Steps) > MaxSteps:
		return Invalid("a rollout has at most %d steps", MaxSteps)
	case len(r.Steps) == 1 && r.Steps[0].Weight == Whole:
		return Invalid("a rollout that begins with 100%% is a deploy").WithHint("leave %s and %s out", Field("canary"), Field("steps"))
	case len(r.Steps) > 0 && r.SlowStart > 0:
		return Invalid("%s contradicts %s and %s", Field("slow_start"), Field("canary"), Field("steps")).WithHint("leave one of them out")
	case r.SlowStart != 0 && (r.SlowStart < minStep || r.SlowStart > MaxTimeout):
		return Invalid("%s %s is out of range; use a value from %s to %s", Field("slow_start"), r.SlowStart, minStep, boundName(MaxTimeout))
	case r.Watch != 0 && (r.Watch < minStep || r.Watch > MaxTimeout):
		return Invalid("%s %s is out of range; use a value from %s to %s", Field("watch"), r.Watch, minStep, boundName(MaxTimeout))
	case r.MaxErrorRate > maxLimit || r.MaxSlow > maxLimit:
		return Invalid("a release that may fail or be slow in more than %s of all cases is never found to be bad", maxLimit)
	case r.MinRequests < 0 || r.MinRequests > MaxMinRequests:
		return Invalid("%s %d is out of bounds; it has to be from 1 to %d", Field("min_requests"), r.MinRequests, MaxMinRequests)
	}
	for i, s := range r.Steps {
		if s.Weight == Whole && (i < len(r.Steps)-1 || s.For != 0) {
			return Invalid("100%% ends a rollout, so it has to be the last step, and has no time").WithHint("to watch the release once it serves all, use %s", Field("watch"))
		}
		if i > 0 && s.Weight <= r.Steps[i-1].Weight {
			return Invalid("step %s gives the release no more than the step before it", s).WithHint("order the steps by their shares, as in 5%%/2m,25%%/5m,100%%")
		}
	}
	if name, by := r.Header(); by {
		if _, _, err := ParseHeaderField(name + ":"); err != nil {
			return Invalid("%.64q is not the name of a header field", name)
		}
	} else if name, by := r.Cookie(); by {
		// The name of a cookie is a token, as that of a field (RFC 6265, section 4.1.1).
		if _, _, err := ParseHeaderField(name + ":"); err != nil {
			return Invalid("%.64q is not the name of a cookie", name)
		}
	} else if r.By != "" && r.By != "cookie" && r.By != "ip" {
		return Invalid("a client is known by cookie, by cookie:NAME, by ip or by header:NAME, not by %.64q", r.By)
	}
	return nil
}

// resolveRollout decides how the release is brought into service.
func (r DeployRequest) resolveRollout(s *Spec) error {
	out := Rollout{Keep: r.Keep, By: r.CanaryBy, MinRequests: r.MinRequests, OnInconclusive: r.OnInconclusive, CheckURL: r.CheckURL}
	if r.Watch != nil {
		out.Watch = *r.Watch
	}
	if r.SlowStart != nil {
		out.SlowStart = *r.SlowStart
	}
	steps := r.Steps
	if r.Canary != "" {
		if len(steps) > 0 {
			return Invalid("%s and %s contradict each other", Field("canary"), Field("steps")).WithHint("leave one of them out; %s is one step that lasts until somebody decides", Field("canary"))
		}
		if _, err := ParsePercent(r.Canary); err != nil {
			return Invalid("%s: %v", Field("canary"), err)
		}
		steps = []string{r.Canary}
	}
	for _, text := range steps {
		var step Step
		if err := step.UnmarshalText([]byte(text)); err != nil {
			return Invalid("%s: %v", Field("steps"), err).WithHint("write it as 5%%/2m,25%%/5m,100%%")
		}
		out.Steps = append(out.Steps, step)
	}
	for field, text := range map[Field]string{"max_error_rate": r.MaxErrorRate, "max_slow": r.MaxSlow} {
		if text == "" {
			continue
		}
		limit, err := ParsePercent(text)
		if err == nil && limit == 0 {
			err = fmt.Errorf("%s leaves no room: every application fails now and then", text)
		}
		if err != nil {
			return Invalid("%s: %v", field, err)
		}
		if field == "max_slow" {
			out.MaxSlow = limit
		} else {
			out.MaxErrorRate = limit
		}
	}
	if r.CheckURL != "" {
		if err := CheckURL(r.CheckURL); err != nil {
			return err
		}
	}
	if err := r.checkUseOfRollout(&out); err != nil {
		return err
	}
	out.fillIn()
	if err := out.Validate(); err != nil {
		return err
	}
	if out.IsCanary() || out.Watch > 0 || out.Keep {
		s.Rollout = &out
	}
	return nil
}

// checkUseOfRollout refuses settings that would have no effect.
func (r DeployRequest) checkUseOfRollout(out *Rollout) error {
	judged := len(out.Steps) > 0 || out.Watch > 0
	for _, c := range []struct {
		field     Field
		given, ok bool
		needs     []Field
	}{
		{"max_error_rate", r.MaxErrorRate != "", judged, []Field{"watch", "canary", "steps"}},
		{"max_slow", r.MaxSlow != "", judged, []Field{"watch", "canary", "steps"}},
		{"min_requests", r.MinRequests != 0, judged, []Field{"watch", "canary", "steps"}},
		{"on_inconclusive", r.OnInconclusive != "", judged, []Field{"watch", "canary", "steps"}},
		{"check_url", r.CheckURL != "", judged, []Field{"watch", "canary", "steps"}},
		{"canary_by", r.CanaryBy != "", out.IsCanary(), []Field{"canary", "steps", "slow_start"}},
	} {
		if c.given && !c.ok {
			return Invalid("%s has no effect without %s, %s or %s", c.field, c.needs[0], c.needs[1], c.needs[2])
		}
	}
	if r.TakeOver && (out.IsCanary() || out.Watch > 0 || out.Keep) {
		return Invalid("a release that takes over routes takes them at once, and cannot be taken back").
			WithHint("move the routes with a deploy of its own first, with %s and without %s, %s, %s, %s and %s", Field("take_over"), Field("watch"), Field("canary"), Field("steps"), Field("slow_start"), Field("keep"))
	}
	return nil
}

// fillIn sets what was left out of a rollout that has something to judge.
func (r *Rollout) fillIn() {
	if len(r.Steps) == 0 && r.Watch == 0 {
		return
	}
	if r.MaxErrorRate == 0 {
		r.MaxErrorRate, _ = ParsePercent(DefaultMaxErrorRate)
	}
	if r.MinRequests == 0 {
		r.MinRequests = DefaultMinRequests
	}
}

// inconclusives returns the values of [DeployRequest.OnInconclusive].
func inconclusives() []OnInconclusive {
	return []OnInconclusive{InconclusivePause, InconclusivePromote, InconclusiveAbort}
}

// RolloutPhase says what a rollout is at.
type RolloutPhase string

const (
	// PhaseCanary is a release that gets a share of the clients.
	PhaseCanary RolloutPhase = "canary"
	// PhaseSlowStart is a release whose share grows by itself.
	PhaseSlowStart RolloutPhase = "slow_start"
	// PhaseWatch is a release that serves all, while the one before is ready to take over.
	PhaseWatch RolloutPhase = "watch"
)

// RolloutStatus is a rollout as it is seen from outside.
type RolloutStatus struct {
	Phase RolloutPhase `json:"phase"`
	// Release is the one that is brought into service, Previous the one that it is to replace,
	// or has replaced.
	Release  int `json:"release"`
	Previous int `json:"previous"`
	// Weight is the share of the clients that the release gets.
	Weight Percent `json:"weight"`
	// Values and Off are those of [RolloutRequest].
	Values []string `json:"values,omitempty"`
	Off    bool     `json:"off,omitempty"`
	// Step is the number of the step, from 1; 0 if there are none. Steps is how many there are.
	Step  int `json:"step,omitempty"`
	Steps int `json:"steps,omitempty"`
	// RemainingSeconds is what is left of the step or of the watch; absent if it lasts until
	// somebody decides.
	RemainingSeconds *Seconds `json:"remaining_seconds,omitempty"`
	// Waiting says why time does not count; empty if it does.
	Waiting string `json:"waiting,omitempty"`
	// Evidence is what the release is judged by.
	Evidence Evidence `json:"evidence"`
}

// Evidence is what is known of a release that is judged.
type Evidence struct {
	// Requests and Failures are those of the release, as far as they count: of one client, three
	// failures count within a minute. A failure is an answer of 5xx, or none at all because the
	// target could not be reached, took too long or broke off.
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	// Limit is the failure rate that it is judged against.
	Limit Percent `json:"limit"`
	// PreviousRequests and PreviousFailures are those of the release before: in its last hour
	// for a watch, in the same time for a canary.
	PreviousRequests int64 `json:"previous_requests"`
	PreviousFailures int64 `json:"previous_failures"`
	// Timed are the requests of which it is known how long they took, Slow those that took
	// longer than SlowerThan, within which 95 % of those of the release before were answered.
	Timed      int64   `json:"timed,omitempty"`
	Slow       int64   `json:"slow,omitempty"`
	SlowerThan Seconds `json:"slower_than_seconds,omitempty"`
	// Odds are how much better the evidence fits a release that is bad than one at the limit.
	// At 100 it is taken for bad.
	Odds float64 `json:"odds"`
}

// RolloutAction is what becomes of a rollout that is under way.
type RolloutAction string

// The actions of a [RolloutRequest].
const (
	// ActionPromote goes on to the next step, or ends the last one or the watch: the release
	// is trusted.
	ActionPromote RolloutAction = "promote"
	// ActionAbort goes back to the release before.
	ActionAbort RolloutAction = "abort"
	// ActionPause stops the clock and the judgement, ActionResume has them go on.
	ActionPause  RolloutAction = "pause"
	ActionResume RolloutAction = "resume"
	// ActionSet gives a canary another share of the clients, until somebody decides.
	ActionSet RolloutAction = "set"
)

// RolloutRequest asks for a change of a rollout that is under way.
type RolloutRequest struct {
	Action RolloutAction `json:"action"`
	// Full has a promotion leave out all further steps, and the watch.
	Full bool `json:"full,omitempty"`
	// IfMatch is the generation that the service has to be in; see [HoldRequest.IfMatch].
	IfMatch string `json:"-"`
	// Weight is the share that a canary is to get.
	Weight *Percent `json:"weight,omitempty"`
	// Values are values of the cookie that clients are known by, whose clients get the canary
	// whatever its share is. It is for a canary by cookie:NAME, and takes the place of the
	// values before. Default: none.
	Values []string `json:"values,omitempty"`
	// Off has nobody get the canary, which keeps its share and its values for when it is set
	// again. Default: false.
	Off bool `json:"off,omitempty"`
}

// Bounds of [RolloutRequest.Values]: how many there may be, and how long one is, in bytes.
const (
	MaxCanaryValues = 1000
	MaxCanaryValue  = 256
)

// ValidateCanaryValues returns an [Error] with [CodeInvalid] if values are out of their bounds.
func ValidateCanaryValues(values []string) error {
	if len(values) > MaxCanaryValues {
		return Invalid("a canary can have at most %d values of its cookie", MaxCanaryValues)
	}
	for _, v := range values {
		if v == "" || len(v) > MaxCanaryValue || strings.ContainsFunc(v, IsControl) {
			return Invalid("%.64q is not a value of a cookie; it has from 1 to %d characters", v, MaxCanaryValue)
		}
	}
	return nil
}

// Validate returns an [Error] with [CodeInvalid] if fields contradict each other.
func (r RolloutRequest) Validate() error {
	all := []RolloutAction{ActionPromote, ActionAbort, ActionPause, ActionResume, ActionSet}
	switch {
	case !slices.Contains(all, r.Action):
		return Invalid("%.64q is no action; use %s", r.Action, strings.Join(texts(all), ", "))
	case r.Action == ActionSet && r.Weight == nil:
		return Invalid("to set the share of a canary takes a weight")
	case r.Action != ActionSet && r.Weight != nil:
		return Invalid("a weight is for the action %s", ActionSet)
	case r.Action != ActionSet && (len(r.Values) > 0 || r.Off):
		return Invalid("values, and to turn a canary off, are for the action %s", ActionSet)
	case r.Action != ActionPromote && r.Full:
		return Invalid("full is for the action %s", ActionPromote)
	}
	return ValidateCanaryValues(r.Values)
}

// RolloutResult tells what has become of a rollout.
type RolloutResult struct {
	Service string `json:"service"`
	// Serving is the release that serves, whatever share another one gets.
	Serving int `json:"serving"`
	// Rollout is what is under way now; absent if that has ended.
	Rollout *RolloutStatus `json:"rollout,omitempty"`
	// Kept is the release that stays ready to serve again without a rollout: its targets must
	// not be removed.
	Kept int `json:"kept,omitempty"`
	// Drained tells of the releases that have left: their targets may be removed.
	Drained []Drain `json:"drained,omitempty"`
}

// PreviewLink opens a release that not everybody gets, for whoever has it.
type PreviewLink struct {
	Service string    `json:"service"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}
