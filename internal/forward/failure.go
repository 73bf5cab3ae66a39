package forward

import (
	"fmt"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/errorpage"
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
	// Pages are the service's own for the answer; nil if it has none.
	Pages *errorpage.Set
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
