package forward

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/parachute-proxy/parachute/internal/api"
)

// pick chooses the upstream for a request, of those that are not in tried. Targets
// that are not failing come first, and among those the one that the client has
// been with before, if it is to stick to it. If all were tried, it returns nil.
func (r *Release) pick(x *exchange, tried []*upstream) *upstream {
	if len(r.upstreams) == 1 && len(tried) == 0 {
		return r.upstreams[0]
	}
	if r.Spec.Options.Sticky {
		if u := r.upstreamOfClient(x); u != nil && !u.failing() && !slices.Contains(tried, u) {
			return u
		}
	}
	roundRobin := r.Spec.Options.LB == api.RoundRobin
	// A random start makes the first of equals a random one.
	start := rand.Uint64()
	if roundRobin {
		start = r.turn.Add(1)
	}
	var best *upstream
	var bestFailing bool
	var bestLoad int64
	for i := range uint64(len(r.upstreams)) {
		u := r.upstreams[(start+i)%uint64(len(r.upstreams))]
		if slices.Contains(tried, u) {
			continue
		}
		failing, load := u.failing(), u.inFlight.Load()
		if roundRobin {
			load = 0 // all the same: the first is the one whose turn it is
		}
		if best == nil || bestFailing && !failing || bestFailing == failing && load < bestLoad {
			best, bestFailing, bestLoad = u, failing, load
		}
	}
	return best
}

// shortHash returns a short name for parts that does not show them.
func shortHash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// stickyCookie is the name of the cookie in which a client keeps which target it
// has been with. Services may share a host, so each has a name of its own.
func stickyCookie(service string) string { return "parachute_" + shortHash(service) }

// stickyID is the value of the cookie for a target. It stays the same over
// restarts and deployments for as long as the service has the target.
func stickyID(service string, t api.Target) string { return shortHash(service, t.String()) }

// upstreamOfClient returns the upstream that the client has been with, or nil if it
// has not, or if that is gone.
func (r *Release) upstreamOfClient(x *exchange) *upstream {
	cookie, err := x.in.Cookie(stickyCookie(r.Spec.Service))
	if err != nil {
		return nil
	}
	for _, u := range r.upstreams {
		if stickyID(r.Spec.Service, u.target) == cookie.Value {
			return u
		}
	}
	return nil
}

// stick tells the client which target it is with, unless it knows.
func (x *exchange) stick(h http.Header) {
	r := x.release
	if !r.Spec.Options.Sticky || len(r.upstreams) == 1 || r.upstreamOfClient(x) == x.upstream {
		return
	}
	cookie := http.Cookie{
		Name: stickyCookie(r.Spec.Service), Value: stickyID(r.Spec.Service, x.upstream.target),
		Path: x.prefix, HttpOnly: true, Secure: x.in.TLS != nil, SameSite: http.SameSiteLaxMode,
	}
	h.Add("Set-Cookie", cookie.String())
}
