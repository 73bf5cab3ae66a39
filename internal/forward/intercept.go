package forward

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/errorpage"
)

// InterceptedError is an answer of the application that the client gets a page in place of.
type InterceptedError struct {
	// Status is that of the answer.
	Status int
}

func (e *InterceptedError) Error() string {
	return fmt.Sprintf("the application answered with %d, and its answer is replaced", e.Status)
}

// keptOfErrors are the fields of an answer that stay when a page takes its place: they tell the
// client what to do, and a status may not be without them.
var keptOfErrors = []string{"Retry-After", "Www-Authenticate", "Allow", "Set-Cookie"}

// maxThrownAway and thrownAwayWithin bound what is read of an answer that nobody gets, so that its
// connection can be used again, and for how long the client waits for that.
const (
	maxThrownAway    = 64 << 10
	thrownAwayWithin = 250 * time.Millisecond
)

// intercept returns an [InterceptedError] for an answer in whose place the client gets a page: an
// error, if the service wants that, for a client that names HTML among what it accepts. Programs get
// what the application says.
func (x *exchange) intercept(resp *http.Response) error {
	if !x.release.intercepted.Contain(resp.StatusCode) || errorpage.PreferenceOf(x.in.Header) != errorpage.Wants || endless(resp) {
		return nil
	}
	x.scopeCookies(resp.Header)
	h := x.w.Header()
	for _, name := range keptOfErrors {
		if values := resp.Header[name]; len(values) > 0 {
			h[name] = append(slices.Clip(h[name]), values...) // there may be cookies of the proxy's own
		}
	}
	x.addCookies(h, resp.Header)
	if n := resp.ContentLength; n > 0 && n <= maxThrownAway {
		slow := time.AfterFunc(thrownAwayWithin, x.abort)
		_, _ = io.CopyN(io.Discard, resp.Body, n)
		slow.Stop()
	}
	_ = resp.Body.Close()
	return &InterceptedError{resp.StatusCode}
}
