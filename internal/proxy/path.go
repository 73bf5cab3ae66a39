package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// matchPath returns the path of u that prefixes are compared with: as [forward.CleanPath]
// has it, so that nobody reaches a service by a detour through the paths of another one, and
// decoded, except that an encoded slash stays encoded, because it is data inside a
// segment and not a boundary between two (RFC 3986, section 2.2).
func matchPath(u *url.URL) string {
	raw := u.RawPath
	if !forward.IsClean(u.Path) {
		raw = forward.CleanPath(forward.RawPath(u))
	} else if raw == "" || !strings.Contains(raw, "%2") {
		return u.Path
	}
	var b strings.Builder
	for i, segment := range strings.Split(raw, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		decoded, err := url.PathUnescape(segment)
		if err != nil || strings.Contains(decoded, "/") {
			decoded = segment
		}
		b.WriteString(decoded)
	}
	return b.String()
}

// acmeChallenges is where a certificate authority looks for proof (RFC 8555,
// section 8.3). It comes by plain HTTP and has to be answered there: by the host of
// the engine, or else by an app that gets certificates of its own.
const acmeChallenges = "/.well-known/acme-challenge/"

// isForAuthority reports whether a request is for the proof that a certificate authority looks for, and
// for nothing that only looks like one: a token has no character that leads to another path.
func isForAuthority(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.URL.Path, acmeChallenges)
	return ok && token != "" && r.URL.RawPath == "" && r.RequestURI == r.URL.Path &&
		!strings.ContainsFunc(token, func(c rune) bool {
			return !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_')
		})
}
