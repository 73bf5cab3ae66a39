package api

import (
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"
)

// HoldMode says what becomes of requests for a service that does not serve them.
type HoldMode string

const (
	// Paused is a service whose requests wait.
	Paused HoldMode = "paused"
	// Stopped is a service whose requests are refused.
	Stopped HoldMode = "stopped"
)

// Defaults and bounds of a [HoldRequest].
const (
	DefaultMaxWait    = Duration(30 * time.Second)
	DefaultQueue      = 1000
	MaxQueue          = 100_000
	DefaultStopStatus = 503
	MaxHoldMessage    = 1000
	MaxHoldAllow      = 100
)

// HoldRequest asks to pause or to stop a service.
type HoldRequest struct {
	// MaxWait is how long a request of a paused service waits, from 1ms. Default: 30s.
	MaxWait *Duration `json:"max_wait,omitempty"`
	// Queue is how many requests of a paused service wait at a time. Default: 1000.
	Queue *int `json:"queue,omitempty"`
	// Message is what the page of a stopped service says. Default: that the service is
	// stopped.
	Message string `json:"message,omitempty"`
	// Status is what requests of a stopped service are answered with, from 400 to 599.
	// Default: 503.
	Status int `json:"status,omitempty"`
	// Allow are addresses, or ranges of them (CIDR), whose requests are served all the
	// same. Default: none.
	Allow []string `json:"allow,omitempty"`
	// IfMatch is the generation that the service has to be in, as an entity tag; see
	// [ServiceStatus.Generation]. In the API it is a header field. Default: any.
	IfMatch string `json:"-"`
	// DrainTimeout is how long the call waits for the requests that are in flight. They
	// are not cut when it is over. Default: what the service was deployed with.
	DrainTimeout *Duration `json:"drain_timeout,omitempty"`
}

// Hold is what becomes of the requests for a service that is paused or stopped.
type Hold struct {
	Mode  HoldMode  `json:"mode"`
	Since time.Time `json:"since"`
	// MaxWait and Queue are those of a paused service.
	MaxWait Duration `json:"max_wait,omitempty"`
	Queue   int      `json:"queue,omitempty"`
	// Message and Status are those of a stopped one.
	Message string         `json:"message,omitempty"`
	Status  int            `json:"status,omitempty"`
	Allow   []netip.Prefix `json:"allow,omitempty"`
}

// HoldStatus is a hold as it is seen from outside.
type HoldStatus struct {
	Hold
	// Waiting is how many requests wait at this moment.
	Waiting int `json:"waiting"`
}

// HoldResult tells of a service that was paused, stopped or resumed.
type HoldResult struct {
	Service string `json:"service"`
	// Hold is absent if the service serves.
	Hold *HoldStatus `json:"hold,omitempty"`
	// Requests and Streams are what is still in flight of before.
	Requests int `json:"requests"`
	Streams  int `json:"streams"`
}

// Resolve returns the hold that is asked for, or an [Error] with [CodeInvalid].
func (r HoldRequest) Resolve(mode HoldMode) (Hold, error) {
	h := Hold{Mode: mode, Since: time.Now().UTC()}
	switch {
	case mode == Paused && (r.Message != "" || r.Status != 0):
		return Hold{}, Invalid("a message and a status are for a service that is stopped; the requests of a paused one wait")
	case mode == Stopped && (r.MaxWait != nil || r.Queue != nil):
		return Hold{}, Invalid("a queue is for a service that is paused; the requests of a stopped one are refused")
	}
	if mode == Paused {
		h.MaxWait, h.Queue = DefaultMaxWait, DefaultQueue
	} else {
		h.Status = DefaultStopStatus
	}
	if r.MaxWait != nil {
		h.MaxWait = *r.MaxWait
	}
	if r.Queue != nil {
		h.Queue = *r.Queue
	}
	if r.Status != 0 {
		h.Status = r.Status
	}
	h.Message = r.Message
	for _, text := range r.Allow {
		prefix, err := parseRange(text)
		if err != nil {
			return Hold{}, err
		}
		h.Allow = append(h.Allow, prefix)
	}
	if err := (RemoveRequest{DrainTimeout: r.DrainTimeout}).Validate(); err != nil {
		return Hold{}, err
	}
	return h, h.Validate()
}

// Validate returns an [Error] with [CodeInvalid] if a value is out of its bounds.
func (h *Hold) Validate() error {
	switch {
	case h.Mode != Paused && h.Mode != Stopped:
		return Invalid("a service is paused or stopped, not %.64q", h.Mode)
	case h.Mode == Paused && (h.MaxWait < Duration(time.Millisecond) || h.MaxWait > MaxTimeout):
		return Invalid("max wait %s is out of bounds; it has to be from 1ms to %s", h.MaxWait, boundName(MaxTimeout))
	case h.Queue < 0 || h.Queue > MaxQueue:
		return Invalid("a queue of %d is out of bounds; it has to be from 0 to %d", h.Queue, MaxQueue)
	case h.Mode == Stopped && (h.Status < 400 || h.Status > 599):
		return Invalid("%d is not the status of an error; it has to be from 400 to 599", h.Status)
	case len(h.Message) > MaxHoldMessage || !utf8.ValidString(h.Message):
		return Invalid("a message has at most %d bytes of text", MaxHoldMessage)
	case len(h.Allow) > MaxHoldAllow:
		return Invalid("at most %d ranges of addresses can be let through", MaxHoldAllow)
	}
	return nil
}

// parseRange returns a range of addresses, which may be one.
func parseRange(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, Invalid("%.64q is not a range of addresses; write it as 10.0.0.0/8, or as one address", text)
	}
	return prefix.Masked(), nil
}

// Allows reports whether requests from an address are served all the same.
func (h *Hold) Allows(addr netip.Addr) bool {
	for _, prefix := range h.Allow {
		if prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// String says in words what becomes of requests.
func (h *HoldStatus) String() string {
	if h.Mode == Paused {
		return fmt.Sprintf("%s: %s waiting", h.Mode, Count(h.Waiting, "request"))
	}
	return string(h.Mode)
}
