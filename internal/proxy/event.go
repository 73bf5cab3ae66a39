package proxy

import (
	"context"
	"time"
)

// EventKind says what an [Event] tells.
type EventKind string

// The kinds of events, in the order in which a deployment sends them.
const (
	EventAccepted    EventKind = "accepted"
	EventProbeFailed EventKind = "probe_failed"
	EventHealthy     EventKind = "healthy"
	EventCertifying  EventKind = "certifying"
	EventCertified   EventKind = "certified"
	EventSwitched    EventKind = "switched"
	EventDraining    EventKind = "draining"
	EventDrained     EventKind = "drained"
	// EventEnded is the last event; it carries the whole deployment.
	EventEnded EventKind = "ended"
)

// Event is one step of a deployment. Which fields it has depends on its kind.
type Event struct {
	Kind       EventKind `json:"event"`
	Time       time.Time `json:"time"`
	Deployment string    `json:"deployment"`
	Service    string    `json:"service"`
	// Target, Reason and Probe tell of a health check.
	Target string       `json:"target,omitempty"`
	Reason string       `json:"reason,omitempty"`
	Probe  *ProbeReport `json:"probe,omitempty"`
	// Host and Certificate tell of a certificate.
	Host        string       `json:"host,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	// Release, Previous, SwitchTime and Changes tell of the switch.
	Release    int      `json:"release,omitempty"`
	Previous   int      `json:"previous,omitempty"`
	SwitchTime Duration `json:"switch_time,omitempty"`
	Changes    []string `json:"changes,omitempty"`
	// Targets, Requests and Streams tell of a drain that is under way.
	Targets  []string `json:"targets,omitempty"`
	Requests int      `json:"requests,omitempty"`
	Streams  int      `json:"streams,omitempty"`
	Drain    *Drain   `json:"drain,omitempty"`
	// Result is the deployment as it ended.
	Result *DeploymentStatus `json:"result,omitempty"`
}

// maxEvents bounds the events that a deployment remembers: behind it, failing
// probes and the progress of a drain, which can go on for hours, are left out.
const maxEvents = 1000

// Events calls yield with every event of the deployment, those of the past
// first, until the last, until yield returns an error, or until ctx ends.
func (d *Deployment) Events(ctx context.Context, yield func(Event) error) error {
	for next := 0; ; {
		d.mu.Lock()
		pending, more := d.events[next:], d.more
		d.mu.Unlock()
		for _, ev := range pending {
			if err := yield(ev); err != nil {
				return err
			}
			if ev.Kind == EventEnded {
				return nil
			}
		}
		next += len(pending)
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send adds an event. Events are only ever appended, so that a slice of them can
// be read without the lock.
func (d *Deployment) send(ev Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sendLocked(ev)
}

func (d *Deployment) sendLocked(ev Event) {
	if len(d.events) >= maxEvents && (ev.Kind == EventProbeFailed || ev.Kind == EventDraining) {
		return
	}
	ev.Time, ev.Deployment, ev.Service = time.Now().UTC(), d.id, d.spec.service
	d.events = append(d.events, ev)
	close(d.more)
	d.more = make(chan struct{})
}
