package forward

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/parachute-proxy/parachute/internal/api"
)

// stickyCookie is the name of the cookie in which a client keeps which target it
// has been with. Services may share a host, so each has a name of its own.
func stickyCookie(service string) string { return "parachute_" + ShortHash(service) }

// stickyID is the value of the cookie for a target. It stays the same over
// restarts and deployments for as long as the service has the target.
func stickyID(service string, t api.Target) string { return ShortHash(service, t.String()) }

// upstreamOfClient returns the upstream that the client has been with, or nil if it
// has not, or if that is gone.
func (r *Release) upstreamOfClient(x *exchange) *upstream {
	cookie, err := x.in.Cookie(stickyCookie(r.Spec.Service))
	if err != nil {
		return nil
	}
	for _, u := range r.writers() {
		if stickyID(r.Spec.Service, u.target) == cookie.Value {
			return u
		}
	}
	return nil
}

// stick tells the client which target it is with, unless it knows. A read target is chosen for
// each request.
func (x *exchange) stick(h http.Header) {
	r := x.release
	if !r.Spec.Options.Sticky || len(r.writers()) == 1 || !slices.Contains(r.writers(), x.upstream) || r.upstreamOfClient(x) == x.upstream {
		return
	}
	secure := x.from.ByTLS(x.in)
	cookie := http.Cookie{
		Name: stickyCookie(r.Spec.Service), Value: stickyID(r.Spec.Service, x.upstream.target),
		Path: x.prefix, HttpOnly: true, Secure: secure, SameSite: sameSite(r.Spec.Options.StickySameSite, secure),
	}
	h.Add("Set-Cookie", cookie.String())
}

// sameSite returns what the cookie says of requests from other sites. By default it is sent
// with them: an application that is embedded in other sites, or that they post to, needs its
// target as well, and the cookie tells nothing. Browsers refuse such a cookie without Secure,
// and one with Secure over plain HTTP, so there it is the next best.
func sameSite(wanted api.SameSite, secure bool) http.SameSite {
	switch {
	case wanted == api.SameSiteStrict:
		return http.SameSiteStrictMode
	case wanted == api.SameSiteLax || !secure:
		return http.SameSiteLaxMode
	}
	return http.SameSiteNoneMode
}

// ShortHash returns a short name for parts that does not show them.
func ShortHash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
