package handoff

import "github.com/parachute-proxy/parachute/internal/api"

// Protocol is the version of the messages. Processes of different versions do not hand over to
// each other.
const Protocol = 1

// kind says what a message is.
type kind string

// The messages of a handover, in their order.
const (
	kindHello    kind = "hello"
	kindRefused  kind = "refused"
	kindOffer    kind = "offer"
	kindBooted   kind = "booted"
	kindFailed   kind = "failed"
	kindFrozen   kind = "frozen"
	kindReady    kind = "ready"
	kindReleased kind = "released"
)

// The messages to a process that follows, and its answers.
const (
	kindFollow   kind = "follow"
	kindApply    kind = "apply"
	kindDrain    kind = "drain"
	kindStatus   kind = "status"
	kindBye      kind = "bye"
	kindLeft     kind = "left"
	kindProgress kind = "progress"
	kindDone     kind = "done"
)

// message is a line of the protocol. A kind uses some of the fields.
type message struct {
	Kind kind `json:"kind"`
	// Protocol is of the process that says hello, Version and PID are of that one or of the one
	// that offers.
	Protocol int    `json:"protocol,omitempty"`
	Version  string `json:"version,omitempty"`
	PID      int    `json:"pid,omitempty"`
	// Reason is why a process refuses, or has failed.
	Reason string `json:"reason,omitempty"`
	// Sockets are the names of the descriptors that go along, in their order. More says that
	// another offer follows.
	Sockets []string `json:"sockets,omitempty"`
	More    bool     `json:"more,omitempty"`
	// Generation is how many processes there have been before the one that offers.
	Generation int `json:"generation,omitempty"`
	// Secrets are what the process that offers tells the next one besides: see [Offer].
	Secrets []byte `json:"secrets,omitempty"`
	// Standing is what a process that has ceased to decide hands over of its part in a fleet.
	Standing []byte `json:"standing,omitempty"`
	// Followers are the control sockets of the processes that follow the one that offers, and Processes say which ones
	// they are. Control is the socket that the released process has.
	Followers []string              `json:"followers,omitempty"`
	Processes []api.ProcessIdentity `json:"processes,omitempty"`
	Control   string                `json:"control,omitempty"`

	// ID is that of a call, which its answers have, too.
	ID int `json:"id,omitempty"`
	// Service, Document and Release are what a call is about. Without a Document, the service
	// goes.
	Service  string `json:"service,omitempty"`
	Document []byte `json:"document,omitempty"`
	Release  int    `json:"release,omitempty"`
	// Requests and Streams are what is left of a drain, Drain is how it has ended.
	Requests int        `json:"requests,omitempty"`
	Streams  int        `json:"streams,omitempty"`
	Drain    *api.Drain `json:"drain,omitempty"`
	// Process is what a process that follows still has, and Error why a call has failed.
	Process *api.Process `json:"process,omitempty"`
	Error   string       `json:"error,omitempty"`
}
