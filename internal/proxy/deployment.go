package proxy

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"
)

// State is where a deployment is in its life. See the package comment.
type State string

// The states of a [Deployment]. The last four are final.
const (
	StateValidated  State = "validated"
	StateProbing    State = "probing"
	StateHealthy    State = "healthy"
	StateCertified  State = "certified"
	StateSwitched   State = "switched"
	StateDraining   State = "draining"
	StateDone       State = "done"
	StateFailed     State = "failed"
	StateSuperseded State = "superseded"
	StateCancelled  State = "cancelled"
)

// Final reports whether a deployment in state s has ended.
func (s State) Final() bool {
	return s == StateDone || s == StateFailed || s == StateSuperseded || s == StateCancelled
}

// DeploymentStatus is a deployment as it is seen from outside.
type DeploymentStatus struct {
	ID      string   `json:"id"`
	Service string   `json:"service"`
	State   State    `json:"state"`
	Targets []string `json:"targets"`
	// Started and Ended are in UTC; Ended is absent while the deployment runs.
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Release is the number of the new release, once it is in service.
	Release int `json:"release,omitempty"`
	// Previous is the number of the release it replaced; 0 if there was none.
	Previous int `json:"previous,omitempty"`
	// Serving is the number of the release that serves now that the deployment
	// has ended; 0 if none does.
	Serving int `json:"serving,omitempty"`
	// SwitchTime is how long the switch took.
	SwitchTime Duration `json:"switch_time,omitempty"`
	// Changes are the settings that differ from those of the release before,
	// each as "name: old -> new".
	Changes []string      `json:"changes,omitempty"`
	Probes  []ProbeReport `json:"probes,omitempty"`
	// Certificates are those of the hosts, by host.
	Certificates []Certificate `json:"certificates,omitempty"`
	Drained      []Drain       `json:"drained,omitempty"`
	Error        *Error        `json:"error,omitempty"`
}

// Deployment is one deployment, running or ended.
type Deployment struct {
	id   string
	spec spec
	// ctx ends, with an [Error] as its cause, when the deployment is ended from
	// outside before it commits.
	ctx   context.Context
	abort context.CancelCauseFunc
	// inService says that the new release is. It is guarded by Engine.mu.
	inService bool

	// mu guards what follows.
	mu         sync.Mutex
	status     DeploymentStatus
	committing bool
	events     []Event
	// more is closed, and replaced, when events has grown.
	more  chan struct{}
	ended chan struct{}
}

func newDeployment(s spec) *Deployment {
	d := &Deployment{
		id:    strings.ToLower(rand.Text()[:12]),
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
	d.status = DeploymentStatus{ID: d.id, Service: s.service, State: StateValidated, Started: time.Now().UTC()}
	for _, t := range s.targets {
		d.status.Targets = append(d.status.Targets, t.String())
	}
	d.send(Event{Kind: EventAccepted, Targets: d.status.Targets})
	return d
}

// ID identifies the deployment.
func (d *Deployment) ID() string { return d.id }

// Detached reports whether the deployment goes on without its caller.
func (d *Deployment) Detached() bool { return d.spec.detach }

// Cancel ends the deployment, unless it has begun to commit.
func (d *Deployment) Cancel() {
	d.abort(&Error{Code: CodeCancelled, Message: "the caller went away before the switch; nothing has changed"})
}

// pointOfNoReturn makes the deployment deaf to everything that could end it. It
// returns false if it has been ended already.
func (d *Deployment) pointOfNoReturn() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.committing = d.ctx.Err() == nil
	return d.committing
}

// Wait returns when the deployment has ended or ctx has.
func (d *Deployment) Wait(ctx context.Context) (DeploymentStatus, error) {
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
func (d *Deployment) Status() DeploymentStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

func (d *Deployment) enter(s State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.State = s
}

func (d *Deployment) probeFailed(target, reason string) {
	d.send(Event{Kind: EventProbeFailed, Target: target, Reason: reason})
}

func (d *Deployment) targetHealthy(report ProbeReport) {
	d.send(Event{Kind: EventHealthy, Target: report.Target, Probe: &report})
}

func (d *Deployment) setProbes(reports []ProbeReport) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Probes = reports
}

func (d *Deployment) setCertificates(certificates []Certificate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.State, d.status.Certificates = StateCertified, certificates
}

// switched records the switch from old, which may be nil, to next.
func (d *Deployment) switched(old, next *Release, took Duration) {
	requests, streams := 0, 0
	if old != nil {
		requests, streams = old.inFlight(), old.streamCount()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.State = StateSwitched
	d.status.Release, d.status.SwitchTime = next.version, took
	if old != nil {
		d.status.Previous = old.version
		d.status.Changes = changes(old.hosts, old.options, next.hosts, next.options)
	}
	d.sendLocked(Event{Kind: EventSwitched, Release: next.version, Previous: d.status.Previous, SwitchTime: took, Changes: d.status.Changes})
	if old == nil {
		return
	}
	d.status.State = StateDraining
	d.sendLocked(Event{Kind: EventDraining, Release: old.version, Targets: old.targets(), Requests: requests, Streams: streams})
}

func (d *Deployment) drainProgress(requests, streams int) {
	d.send(Event{Kind: EventDraining, Release: d.Status().Previous, Requests: requests, Streams: streams})
}

func (d *Deployment) drained(result Drain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Drained = append(slices.Clone(d.status.Drained), result)
	d.sendLocked(Event{Kind: EventDrained, Drain: &result, Release: result.Release, Targets: result.Targets})
}

// finish ends the deployment.
func (d *Deployment) finish(err error, serving int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now().UTC()
	d.status.Ended, d.status.Serving = &now, serving
	d.status.State, d.status.Error = outcome(err)
	result := d.status
	d.sendLocked(Event{Kind: EventEnded, Result: &result})
	close(d.ended)
}

// outcome returns the final state that err stands for.
func outcome(err error) (State, *Error) {
	if err == nil {
		return StateDone, nil
	}
	e := asError(err)
	switch e.Code {
	case CodeSuperseded:
		return StateSuperseded, e
	case CodeCancelled, CodeStopping:
		return StateCancelled, e
	case CodeDrainTimeout:
		return StateDone, e // the new release does serve
	}
	return StateFailed, e
}
