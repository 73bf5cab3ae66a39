package clients

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Requests that read go to the read targets; others, and those of a client that has just
// written, to the targets. That holds for every protocol, and while a read target is down.
func TestReadTargetsGetRequestsThatReadAndNoOthers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		named := func(name string) *app {
			return startApp(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stateless" {
					w.Header().Set("X-Writer-Affinity", "false")
				}
				w.Header().Set("X-Instance", name)
			})
		}
		writer, reader := named("writer"), named("reader")
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{writer.addr()}, ReadTargets: []string{reader.addr()}})
		expect := func(want, method, path string, fields ...field) (cookie string) {
			t.Helper()
			got := x.askWire(t, protocol, method, path, "", fields...)
			if instance := got.header.Get("X-Instance"); instance != want {
				t.Errorf("%s %s %v: answered by %q, want %q", method, path, fields, instance, want)
			}
			if got.header.Get("X-Writer-Affinity") != "" {
				t.Errorf("%s %s: the client got the field that is for the proxy", method, path)
			}
			cookie, _, _ = strings.Cut(got.header.Get("Set-Cookie"), ";")
			return cookie
		}
		for _, method := range []string{"GET", "HEAD"} {
			if cookie := expect("reader", method, "/"); cookie != "" {
				t.Errorf("%s: a client that has only read got the cookie %s", method, cookie)
			}
		}
		if cookie := expect("writer", "POST", "/stateless"); cookie != "" {
			t.Errorf("the application wanted no affinity, and the client got %s", cookie)
		}
		expect("writer", "OPTIONS", "/")
		wrote := expect("writer", "POST", "/")
		name, _, ok := strings.Cut(wrote, "=")
		if !ok {
			t.Fatalf("a client that has written got the cookie %q", wrote)
		}
		expect("reader", "GET", "/", field{"Cookie", name + "=1"})
		expect("reader", "GET", "/", field{"Cookie", name + "=9999999999999"})
		expect("reader", "GET", "/", field{"Cookie", name + "=nonsense"})
		// A time of a second may pass before the next request on a busy machine.
		forLong := api.Duration(time.Hour)
		x.deploy(t, api.DeployRequest{Targets: []string{writer.addr()}, ReadTargets: []string{reader.addr()}, WriterAffinity: &forLong})
		expect("writer", "GET", "/", field{"Cookie", expect("writer", "DELETE", "/")})

		// What a read target cannot take, a target does.
		reader.stop()
		expect("writer", "GET", "/")
	})
}
