package api

import (
	"time"
)

// EventKind says what an [Event] tells.
type EventKind string

// The kinds of events, in the order in which a deployment sends them.
const (
	EventAccepted    EventKind = "accepted"
	EventProbeFailed EventKind = "probe_failed"
	EventHealthy     EventKind = "healthy"
	EventWarmed      EventKind = "warmed"
	EventSmoked      EventKind = "smoked"
	EventCertifying  EventKind = "certifying"
	EventCertified   EventKind = "certified"
	EventSwitched    EventKind = "switched"
	// EventRollout tells of a canary that begins, or gets another share, or of a watch that
	// begins; EventJudged of the evidence, now and then.
	EventRollout EventKind = "rollout"
	EventJudged  EventKind = "judged"
	// EventPromoted tells that the release is trusted, EventReverted that it has left again,
	// and EventUndecided that the rollout waits for somebody to decide. Reason says why.
	EventPromoted  EventKind = "promoted"
	EventReverted  EventKind = "reverted"
	EventUndecided EventKind = "undecided"
	// EventFleet tells how far one proxy of the fleet has come.
	EventFleet    EventKind = "fleet"
	EventDraining EventKind = "draining"
	EventDrained  EventKind = "drained"
	// EventEnded is the last event; it carries the whole deployment.
	EventEnded EventKind = "ended"
)

// The kinds of events that are of no deployment. They are in the feed alone.
const (
	// EventRemoved tells that a service was removed, and of its drain.
	EventRemoved EventKind = "removed"
	// EventHeld and EventResumed tell that a service is paused or stopped, and serves again.
	EventHeld    EventKind = "held"
	EventResumed EventKind = "resumed"
	// EventHealthChanged tells of a target that is failing, or healthy again.
	EventHealthChanged EventKind = "health_changed"
	// EventGap tells a reader of the feed that it has missed events.
	EventGap EventKind = "gap"
)

// The kinds of events that are of a process of the proxy, and of no service. They are in the feed
// alone.
const (
	// EventUpgrading tells that a new process is about to take over, EventUpgraded that it has, and
	// EventUpgradeFailed that it has not: the one before goes on.
	EventUpgrading     EventKind = "upgrading"
	EventUpgraded      EventKind = "upgraded"
	EventUpgradeFailed EventKind = "upgrade_failed"
	// EventTakenBack tells that the process that had taken over has died, so that the one before
	// goes on.
	EventTakenBack EventKind = "taken_back"
	// EventProcessEnded tells that a process has ended that another one had taken over from.
	EventProcessEnded EventKind = "process_ended"
)

// Event is one step of a deployment. Which fields it has depends on its kind.
type Event struct {
	// Followed says that another process of the proxy decides about the service, and tells of the
	// event, too.
	Followed bool `json:"-"`

	Kind       EventKind `json:"event"`
	Time       time.Time `json:"time"`
	Deployment string    `json:"deployment,omitempty"`
	Service    string    `json:"service,omitempty"`
	// Target, Reason and Probe tell of a health check.
	Target string       `json:"target,omitempty"`
	Reason string       `json:"reason,omitempty"`
	Probe  *ProbeReport `json:"probe,omitempty"`
	// Hint says what to do about a health check that has failed for the same reason for a
	// second, and Fields has the settings that it names, as in an [Error].
	Hint   string  `json:"hint,omitempty"`
	Fields []Field `json:"fields,omitempty"`
	// Visits are what the targets have answered to the requests for pages of a warm-up or
	// a smoke test.
	Visits []Visit `json:"visits,omitempty"`
	// Host and Certificate tell of a certificate.
	Host        string       `json:"host,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	// Release, Previous, SwitchTime, Changes, Warnings and TakenOver tell of the switch.
	Release    int         `json:"release,omitempty"`
	Previous   int         `json:"previous,omitempty"`
	SwitchTime Seconds     `json:"switch_seconds,omitempty"`
	Changes    []string    `json:"changes,omitempty"`
	Warnings   []string    `json:"warnings,omitempty"`
	TakenOver  []TakenOver `json:"taken_over,omitempty"`
	// Fleet is how far one proxy of the fleet has come.
	Fleet *FleetStep `json:"fleet,omitempty"`
	// Rollout is a rollout as it is at that moment.
	Rollout *RolloutStatus `json:"rollout,omitempty"`
	// Targets, Requests and Streams tell of a drain that is under way.
	Targets  []string `json:"targets,omitempty"`
	Requests int      `json:"requests,omitempty"`
	Streams  int      `json:"streams,omitempty"`
	// DrainTimeout and StreamTimeout bound it, from its first event on.
	DrainTimeout  *Duration `json:"drain_timeout,omitempty"`
	StreamTimeout *Duration `json:"stream_timeout,omitempty"`
	Drain         *Drain    `json:"drain,omitempty"`
	// Hold tells how a service is held.
	Hold *Hold `json:"hold,omitempty"`
	// Health is what a target has become.
	Health Health `json:"health,omitempty"`
	// Result is the deployment as it ended.
	Result *DeploymentStatus `json:"result,omitempty"`
	// Process is the process of the proxy that an upgrade is about, and From the one that it has
	// taken over from.
	Process *ProcessIdentity `json:"process,omitempty"`
	From    *ProcessIdentity `json:"from,omitempty"`
}
