package clients

import (
	"net/http"
	"slices"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// The cookies of an application whose prefix is removed are for its paths, if that was asked
// for, and for the whole host if not.
func TestCookiePathsAreScopedOnRequest(t *testing.T) {
	t.Parallel()
	set := []string{"a=1; Path=/; HttpOnly", "b=2", "c=3; Domain=elsewhere.test; Path=/", "__Host-d=4; Secure; Path=/", "no cookie"}
	scoped := []string{"a=1; Path=/x; HttpOnly", "b=2; Path=/x", set[2], set[3], set[4]}
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, func(w http.ResponseWriter, _ *http.Request) { w.Header()["Set-Cookie"] = set })
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{a.addr()}, ScopeCookiePaths: true})
		for prefix, req := range map[string]api.DeployRequest{
			"/x": {ScopeCookiePaths: true},
			"/y": {},
			"/z": {ScopeCookiePaths: true, StripPathPrefix: new(false)},
		} {
			req.Service, req.Targets, req.PathPrefixes = x.host+prefix[1:], []string{a.addr()}, []string{prefix}
			x.deploy(t, req)
		}
		for path, want := range map[string][]string{"/": set, "/x": scoped, "/x/y": scoped, "/y": set, "/z/x": set} {
			if got := x.askWire(t, protocol, "GET", path, "").header.Values("Set-Cookie"); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	})
}
