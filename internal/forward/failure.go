package forward

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Settings whose time may be over for a request.
const (
	targetTimeout = api.Field("target_timeout")
	holdTimeout   = api.Field("hold_timeout")
	drainTimeout  = api.Field("drain_timeout")
	streamTimeout = api.Field("stream_timeout")
	clientTimeout = api.Field("client_timeout") // of the proxy and not of a service
)

// Failure is an error of [Release.Forward] with all that a log should have beside it: a
// line that does not say whose request it was, and which time was over, helps nobody.
type Failure struct {
	Record
	// Duration is how long the request took until it failed.
	Duration time.Duration
	// Setting is the setting whose time was over; empty if it was none.
	Setting api.Field
	// Err is one of the errors of [Release.Forward].
	Err error
}

// Error implements error. Caddy, which may be who logs it, has no fields for the rest.
func (f *Failure) Error() string {
	about := []string{fmt.Sprintf("service %s, release %d", f.Service, f.Release)}
	if f.Target != "" {
		about = append(about, "target "+f.Target)
	}
	if f.RequestID != "" {
		about = append(about, fmt.Sprintf("request %s", api.Printable(f.RequestID)))
	}
	about = append(about, fmt.Sprintf("after %s", f.Duration.Round(time.Millisecond)))
	if f.Setting != "" {
		about = append(about, fmt.Sprintf("longer than %s", f.Setting))
	}
	return f.Err.Error() + " (" + strings.Join(about, ", ") + ")"
}

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// Fail returns err, for which a request to r is answered without having been forwarded.
func (r *Release) Fail(err error, from Sender) error {
	return &Failure{Record: Record{Service: r.Spec.Service, Release: r.Version}, Duration: from.duration(), Err: err}
}

// overdue returns the setting whose time was over when x ended with err, or nothing.
func (x *exchange) overdue(err error) api.Field {
	write, _ := errors.AsType[*net.OpError](err)
	switch {
	case x.stream != nil && x.stream.wasCut():
		return streamTimeout
	case errors.Is(err, ErrCut) || errors.Is(x.Err(), ErrCut):
		return drainTimeout
	case errors.Is(err, ErrClientTimeout), write != nil && write.Op == "write" && isTimeout(err) && errors.Is(err, ErrBrokenOff):
		return clientTimeout
	case x.holdOver:
		return holdTimeout
	case errors.Is(err, ErrTimeout) && !isDialError(err):
		return targetTimeout
	}
	return ""
}
