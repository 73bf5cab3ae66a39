package proxy

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Deployment is one deployment, running or ended.
type Deployment struct {
	id   string
	spec api.Spec
	// ctx ends, with an [api.Error] as its cause, when the deployment is ended from
	// outside before it commits.
	ctx   context.Context
	abort context.CancelCauseFunc
	// inService says that the new release is. It is guarded by Engine.mu.
	inService bool
	// saysTLS reports whether the deploy has said if there is to be TLS.
	saysTLS bool
	// builtOn is the deployment whose settings it keeps, where that was not in service yet;
	// nil if there was none.
	builtOn *Deployment
	// reserved are the routes that it holds for its release. It is guarded by Engine.mu.
	reserved []api.Route

	// followed says that another proxy decides about the release, and tells of it.
	followed atomic.Bool
	// publish tells whoever follows all services of an event; nil tells nobody.
	publish func(api.Event)

	// mu guards what follows.
	mu         sync.Mutex
	status     api.DeploymentStatus
	committing bool
	events     []api.Event
	// more is closed, and replaced, when events has grown.
	more  chan struct{}
	ended chan struct{}
}

func newDeployment(s api.Spec) *Deployment { return newDeploymentAs(newDeploymentID(), s) }

// newDeploymentAs is newDeployment with an id.
func newDeploymentAs(id string, s api.Spec) *Deployment {
	d := &Deployment{
		id:    id,
		spec:  s,
		more:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	d.ctx = ctx
	d.abort = func(cause error) {
		// Once the deployment commits, nothing from outside can end it.
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.committing {
			cancel(cause)
		}
	}
	d.status = api.DeploymentStatus{ID: d.id, Service: s.Service, State: api.StateValidated, Targets: api.TargetNames(s.AllTargets()), Started: time.Now().UTC()}
	d.send(api.Event{Kind: api.EventAccepted, Targets: d.status.Targets})
	return d
}

// newDeploymentID returns an id that no other deployment has.
func newDeploymentID() string { return strings.ToLower(rand.Text()[:12]) }

// ID identifies the deployment.
func (d *Deployment) ID() string { return d.id }

// Detached reports whether the deployment goes on without its caller.
func (d *Deployment) Detached() bool { return d.spec.Detach }

// Cancel ends the deployment, unless it has begun to commit.
func (d *Deployment) Cancel() {
	d.abort(&api.Error{Code: api.CodeCancelled, Message: "the caller went away before the switch; nothing has changed"})
}

// pointOfNoReturn makes the deployment deaf to everything that could end it. It
// returns false if it has been ended already.
func (d *Deployment) pointOfNoReturn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.committing = d.ctx.Err() == nil
	return d.committing
}

// isCommitting reports whether the deployment is past its point of no return.
func (d *Deployment) isCommitting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.committing
}

// notCommitted takes back the point of no return: the release could not be stored.
func (d *Deployment) notCommitted() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.committing = false
}

// Wait returns when the deployment has ended or ctx has.
func (d *Deployment) Wait(ctx context.Context) (api.DeploymentStatus, error) {
	select {
	case <-d.ended:
	case <-ctx.Done():
		return d.Status(), ctx.Err()
	}
	status := d.Status()
	if status.Error != nil {
		return status, status.Error
	}
	return status, nil
}

// Status returns the deployment as it is now.
func (d *Deployment) Status() api.DeploymentStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

func (d *Deployment) enter(s api.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.State = s
}

// probeFailed tells why a target is not healthy. That it lasts is told if there is
// something to be done about it other than to wait.
func (d *Deployment) probeFailed(target, reason string, lasting bool) {
	ev := api.Event{Kind: api.EventProbeFailed, Target: target, Reason: reason}
	if lasting {
		hint, early := failureHint(d.spec, target, reason)
		if !early {
			return
		}
		ev.Hint, ev.Fields = hint.Text, hint.Fields
	}
	d.send(ev)
}

func (d *Deployment) targetHealthy(report api.ProbeReport) {
	d.send(api.Event{Kind: api.EventHealthy, Target: report.Target, Probe: &report})
}

func (d *Deployment) setProbes(reports []api.ProbeReport) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Probes = reports
}

func (d *Deployment) setCertificates(certificates []api.Certificate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.State, d.status.Certificates = api.StateCertified, certificates
}

// switched records the switch from old, which may be nil, to next. Then old drains, unless it
// stays in the line-up.
func (d *Deployment) switched(old, next *release, taken []api.TakenOver, took api.Seconds, oldStays bool) {
	requests, streams := 0, 0
	if old != nil {
		requests, streams = old.InFlight(), old.Streams()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.State.Final() { // it has left the decision to others, who are told
		d.sendLocked(api.Event{Kind: api.EventSwitched, Release: next.Version, Previous: versionOf(old), SwitchTime: took})
		return
	}
	d.status.State = api.StateSwitched
	d.status.Release, d.status.SwitchTime, d.status.TakenOver = next.Version, took, taken
	var before *api.Options
	if old != nil {
		before = &old.Spec.Options
		d.status.Previous = old.Version
		d.status.Changes = api.Changes(old.Spec.Hosts, old.Spec.Options, next.Spec.Hosts, next.Spec.Options)
	}
	d.status.Warnings = api.Warnings(next.Spec.Service, before, next.Spec.Options)
	d.sendLocked(api.Event{
		Kind: api.EventSwitched, Release: next.Version, Previous: d.status.Previous, SwitchTime: took,
		Changes: d.status.Changes, Warnings: d.status.Warnings, TakenOver: taken,
	})
	if old == nil || oldStays {
		return
	}
	d.status.State = api.StateDraining
	o := d.spec.Options
	d.sendLocked(api.Event{
		Kind: api.EventDraining, Release: old.Version, Targets: old.Targets(), Requests: requests, Streams: streams,
		DrainTimeout: &o.DrainTimeout, StreamTimeout: &o.StreamTimeout,
	})
}

// tellRollout records how the rollout of the release goes.
func (d *Deployment) tellRollout(ev api.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ev.Rollout != nil && !d.status.State.Final() {
		d.status.Rollout = ev.Rollout
		if d.status.State = api.StateCanary; ev.Rollout.Phase == api.PhaseWatch {
			d.status.State = api.StateWatching
		}
	}
	d.sendLocked(ev)
}

// wentBack records that to, which has served, serves all again, and from none, and why.
func (d *Deployment) wentBack(from, to *release, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.State, d.status.Release, d.status.Previous = api.StateDraining, to.Version, from.Version
	d.sendLocked(api.Event{Kind: api.EventReverted, Release: from.Version, Previous: to.Version, Reason: why})
}

// kept records that old stays ready to serve again.
func (d *Deployment) kept(old *release) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.status.State.Final() {
		d.status.Kept = old.Version
	}
}

// cutError returns the error of a drain in which something had to be cut, or nil.
func (d *Deployment) cutError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, drain := range d.status.Drained {
		if !drain.Clean() {
			return drainError(d.spec.Service, drain)
		}
	}
	return nil
}

func drainError(service string, d api.Drain) *api.Error {
	err := &api.Error{
		Code:    api.CodeDrainTimeout,
		Message: fmt.Sprintf("%s v%d did not drain in time: %s", service, d.Release, api.CutOf(d)),
	}
	return err.WithHint("raise %s if requests need longer, or %s for streams", api.Field("drain_timeout"), api.Field("stream_timeout"))
}

func (d *Deployment) drainProgress(requests, streams int) {
	d.send(api.Event{Kind: api.EventDraining, Release: d.Status().Previous, Requests: requests, Streams: streams})
}

func (d *Deployment) drained(result api.Drain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.status.State.Final() {
		d.status.Drained = append(slices.Clone(d.status.Drained), result)
		d.status.Cut = api.CutOf(d.status.Drained...)
	}
	d.sendLocked(api.Event{Kind: api.EventDrained, Drain: &result, Release: result.Release, Targets: result.Targets})
}

// finish ends the deployment.
func (d *Deployment) finish(err error, serving int) {
	d.followed.Store(false) // this proxy has accepted it
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now().UTC()
	d.status.Ended, d.status.Serving = &now, serving
	d.status.State, d.status.Error = outcome(err)
	result := d.status
	d.sendLocked(api.Event{Kind: api.EventEnded, Result: &result})
	close(d.ended)
}

// outcome returns the final state that err stands for.
func outcome(err error) (api.State, *api.Error) {
	if err == nil {
		return api.StateDone, nil
	}
	e := api.AsError(err)
	switch e.Code {
	case api.CodeSuperseded:
		return api.StateSuperseded, e
	case api.CodeCancelled, api.CodeStopping:
		return api.StateCancelled, e
	case api.CodeDrainTimeout:
		return api.StateDone, e // the new release does serve
	case api.CodeReverted:
		return api.StateReverted, e
	case api.CodeUndecided:
		return api.StateUndecided, e
	}
	return api.StateFailed, e
}

// maxEvents bounds the events that a deployment remembers: behind it, failing
// probes, and the progress of a drain or a watch, which can go on for hours, are left out.
const maxEvents = 1000

// send adds an event. Events are only ever appended, so that a slice of them can
// be read without the lock.
func (d *Deployment) send(ev api.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sendLocked(ev)
}

func (d *Deployment) sendLocked(ev api.Event) {
	if len(d.events) >= maxEvents && (ev.Kind == api.EventProbeFailed || ev.Kind == api.EventDraining || ev.Kind == api.EventJudged) {
		return
	}
	ev.Followed = ev.Followed || d.followed.Load()
	ev.Time, ev.Deployment, ev.Service = time.Now().UTC(), d.id, d.spec.Service
	d.events = append(d.events, ev)
	if d.publish != nil {
		d.publish(ev)
	}
	close(d.more)
	d.more = make(chan struct{})
}
