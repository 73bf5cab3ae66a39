package clients

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// A browser gets the service's own page for errors of the proxy and for those answers of the
// application that are to be replaced; a program gets what the application says.
func TestBrowsersGetTheErrorPagesOfTheService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "500.html"), []byte("<h1>our page {{.Status}}</h1>"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "413.html"), []byte("<h1>our page {{.Status}}</h1>"), 0o600))
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the application's error", http.StatusInternalServerError)
		})
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{a.addr()}, ErrorPages: dir, InterceptErrors: "500", MaxBody: 3})
		for _, c := range []struct {
			method, body, accept string
			status               int
			want                 string
		}{
			{"GET", "", "text/html", http.StatusInternalServerError, "<h1>our page 500</h1>"},
			{"HEAD", "", "text/html", http.StatusInternalServerError, ""},
			{"GET", "", "application/json", http.StatusInternalServerError, "the application's error\n"},
			{"POST", "1234", "text/html", http.StatusRequestEntityTooLarge, "<h1>our page 413</h1>"},
		} {
			got := x.askWire(t, protocol, c.method, "/", c.body, field{"Accept", c.accept})
			if got.status != c.status || got.body != c.want {
				t.Errorf("%s for %s: %s, want %d %q", c.method, c.accept, got, c.status, c.want)
			}
			if html := strings.HasPrefix(got.header.Get("Content-Type"), "text/html"); html != (c.accept == "text/html") {
				t.Errorf("%s for %s is %s", c.method, c.accept, got.header.Get("Content-Type"))
			}
		}
	})
}
