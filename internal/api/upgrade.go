package api

import (
	"fmt"
	"time"
)

// UpgradeRequest asks the proxy to have a new process take its place.
type UpgradeRequest struct {
	// Timeout is how long the new process may take to boot, from 1s. Default: 1m.
	Timeout *Duration `json:"timeout,omitempty"`
}

// Bounds of [UpgradeRequest.Timeout].
const (
	DefaultUpgradeTimeout = Duration(time.Minute)
	minUpgradeTimeout     = Duration(time.Second)
)

// Resolve returns the timeout, or an [Error] with [CodeInvalid].
func (r UpgradeRequest) Resolve() (Duration, error) {
	switch {
	case r.Timeout == nil:
		return DefaultUpgradeTimeout, nil
	case *r.Timeout < minUpgradeTimeout || *r.Timeout > MaxTimeout:
		return 0, Invalid("%s %s is out of range; use a value from %s to %s", Field("timeout"), *r.Timeout, minUpgradeTimeout, boundName(MaxTimeout))
	}
	return *r.Timeout, nil
}

// Upgrade tells of an upgrade that has been done.
type Upgrade struct {
	// From is the process that was, To the one that has taken its place.
	From Process `json:"from"`
	To   Process `json:"to"`
	// Elapsed is from the call to the moment at which the new process served.
	Elapsed Seconds `json:"elapsed_seconds"`
}

// ProcessIdentity says which process of the proxy something is about.
type ProcessIdentity struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	// Generation counts the processes that have taken over from each other, from 1.
	Generation int `json:"generation"`
}

// String returns the version, and the number of the process.
func (p ProcessIdentity) String() string {
	return fmt.Sprintf("parachute %s (process %d)", p.Version, p.PID)
}

// Process is a process of the proxy.
type Process struct {
	ProcessIdentity
	// Connections are those of clients. Requests and Streams are in flight.
	Connections int `json:"connections"`
	Requests    int `json:"requests"`
	Streams     int `json:"streams"`
}

// ProcessList are the processes of the proxy: the one that decides about services, and those that
// it has taken over from and that still have clients, the newest first.
type ProcessList struct {
	Processes []Process `json:"processes"`
}
