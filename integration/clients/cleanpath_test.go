package clients

import (
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// The service of a request is that of its clean path: no dots lead from one into another. One that is
// stripped gets what is left of the clean path, any other the bytes that were sent.
func TestServiceIsThatOfTheCleanPath(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		named := func(name string) string {
			return startApp(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Got", name+" "+r.RequestURI)
			}).addr()
		}
		x := newSite(t, plain.Get(t), named("root"))
		x.deploy(t, api.DeployRequest{Service: x.host + "s", Targets: []string{named("stripped")}, PathPrefixes: []string{"/s"}})
		x.deploy(t, api.DeployRequest{Service: x.host + "k", Targets: []string{named("kept")}, PathPrefixes: []string{"/k"}, StripPathPrefix: new(false)})
		for path, want := range map[string]string{
			"/s/a/b":          "stripped /a/b",
			"//s//a":          "stripped /a",
			"/s/a/../b":       "stripped /b",
			"/s/%2e%2e/x":     "root /s/%2e%2e/x",
			"/s/../k/x":       "kept /s/../k/x",
			"/k/../x":         "root /k/../x",
			"/k//a":           "kept /k//a",
			"/x/../s/%2Fa?q=": "stripped /%2Fa?q=",
		} {
			if got := x.askWire(t, protocol, "GET", path, "").header.Get("X-Got"); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	})
}
