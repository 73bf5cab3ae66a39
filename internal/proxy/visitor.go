package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// visitor is a request on its way through the holds of a service, of which there may be one
// after the other.
type visitor struct {
	// in is the request as it came.
	in     *http.Request
	client forward.Sender
	// service is the name of the service that it is for; empty if its host and path say that.
	service string
	// passed are the handlers that it has passed, or need not; nil if there are none.
	passed *chainSlot
	// arrived is when it came, or when its body had been buffered: a hold counts from then.
	arrived time.Time
	// waitedFor is the hold that the request has waited for last; nil if it has not.
	waitedFor *hold
	// lot decides for a client that nothing is known of; 0 if it has not been drawn.
	lot uint32
	// bucket is what the client is known by in its cookie; empty if it has none.
	bucket string
	// cookies are those that the client is to get.
	cookies []string
	// hasWaited says that the request has waited for a hold to end.
	hasWaited bool
	// stopping is closed when the engine stops. It is nil for a request that has not waited.
	stopping <-chan struct{}
}

// watch returns what is closed when the client goes away, as far as its connection tells.
func (v *visitor) watch() (gone <-chan struct{}, stop func()) {
	if v.client.Connection == nil {
		return nil, func() {}
	}
	left := make(chan struct{})
	return left, v.client.Connection.OnGone(func() { close(left) })
}

// spreadPerRequest is how long each request that has waited makes the release of all take:
// an application that comes back from its pause is not to meet all of them in one moment.
const spreadPerRequest = time.Millisecond

// maxSpread bounds what all of them take: nobody waits for longer than this because many do.
const maxSpread = 5 * time.Second

// wait returns when the request may be looked up again, or why it is refused.
func (v *visitor) wait(h *hold, stopping <-chan struct{}) error {
	if h.Mode == api.Stopped {
		return &HeldError{Cause: ErrStopped, Status: h.Status, Message: h.Message}
	}
	if n := h.waiting.Add(1); v.waitedFor == nil && n > int64(h.Queue) {
		h.waiting.Add(-1)
		return &HeldError{Cause: ErrQueueFull, Status: http.StatusServiceUnavailable, RetryAfter: queueRetryAfter}
	}
	defer h.waiting.Add(-1)
	v.waitedFor, v.stopping, v.hasWaited = h, stopping, true
	deadline := time.NewTimer(time.Until(v.arrived.Add(time.Duration(h.MaxWait))))
	defer deadline.Stop()
	gone, unwatch := v.watch()
	defer unwatch()
	select {
	case <-h.changed:
		return nil
	case <-deadline.C:
		return &HeldError{Cause: ErrPaused, Status: http.StatusGatewayTimeout}
	case <-stopping:
		return &HeldError{Cause: ErrRetired, Status: http.StatusServiceUnavailable, RetryAfter: queueRetryAfter}
	case <-gone:
	case <-v.in.Context().Done():
	}
	return fmt.Errorf("%w while its request waited for the service to be resumed", forward.ErrClientGone)
}

// spread waits a little, if the request has waited and its service is held no more. When it
// returns early, because the client is gone or the engine stops, the request goes on: others
// find that out, as for any request.
func (v *visitor) spread() {
	if v.waitedFor == nil {
		return
	}
	most := min(time.Duration(v.waitedFor.waiting.Load()+1)*spreadPerRequest, maxSpread)
	v.waitedFor = nil
	gone, unwatch := v.watch()
	defer unwatch()
	turn := time.NewTimer(rand.N(most))
	defer turn.Stop()
	select {
	case <-turn.C:
	case <-v.stopping:
	case <-gone:
	case <-v.in.Context().Done():
	}
}

// isHealthCheck reports whether the request asks what a load balancer in front asks: whether
// to send anything here. It has to, or its clients would get an error of its own.
func (v *visitor) isHealthCheck(r *release) bool {
	path, _, _ := strings.Cut(r.Spec.Options.HealthCheckPath, "?")
	return (v.in.Method == http.MethodGet || v.in.Method == http.MethodHead) && v.in.URL.Path == path
}

// clientAddr returns the address of the client: who has sent the request to us, or to a
// trusted proxy that has.
func clientAddr(in *http.Request, client forward.Sender) netip.Addr {
	if client.Trusted {
		forwarded := in.Header.Values("X-Forwarded-For")
		if len(forwarded) == 0 {
			return netip.Addr{}
		}
		last := forwarded[len(forwarded)-1]
		addr, _ := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
		return addr
	}
	addr, _ := netip.ParseAddrPort(in.RemoteAddr)
	return addr.Addr()
}

// loadsPage reports whether a browser loads a page with the request, and not a part of one.
func (v *visitor) loadsPage() bool {
	if v.in.Method != http.MethodGet && v.in.Method != http.MethodHead {
		return false
	}
	// Browsers say so (W3C, Fetch Metadata Request Headers, section 2.2), older ones by what
	// they accept.
	if mode := v.in.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(v.in.Header.Get("Accept"), "text/html")
}

// cookie returns a cookie for the whole host.
func (v *visitor) cookie(name, value string, age int) string {
	c := http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: v.client.ByTLS(v.in), SameSite: http.SameSiteLaxMode,
	}
	return c.String()
}

// tell sets the cookies that the client is to get.
func (v *visitor) tell(w http.ResponseWriter) {
	for _, cookie := range v.cookies {
		w.Header().Add("Set-Cookie", cookie)
	}
	v.cookies = nil
}
