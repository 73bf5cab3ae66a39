package proxy

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// startErrorApp answers with the status that the path ends with, and sets a cookie.
func startErrorApp(t *testing.T) *testkit.App {
	t.Helper()
	return testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "session=1; Path=/")
		if strings.HasSuffix(r.URL.Path, "/422") {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		_, _ = io.WriteString(w, "x")
	})
}

// cookiesOf asks as a browser does and returns the cookies that the answer sets, by their names.
func (e *testEngine) cookiesOf(t *testing.T, method, path string) map[string]*http.Cookie {
	t.Helper()
	req := e.request(method, "h", path, nil)
	req.Header.Set("Accept", "text/html")
	resp, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	all := make(map[string]*http.Cookie)
	for _, c := range resp.Cookies() {
		name := c.Name
		if i := strings.LastIndexByte(name, '_'); strings.HasPrefix(name, "parachute_") && i > len("parachute_") {
			name = name[:i] // without the hash of the service
		}
		all[name] = c
	}
	return all
}

// A page in the place of an answer sets the cookies that the answer would have set: those of the
// application within its prefix, and those of the proxy.
func TestPageInPlaceOfAnAnswerKeepsItsCookies(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", startErrorApp(t))
	req.PathPrefixes, req.StripPathPrefix, req.ScopeCookiePaths = []string{"/app"}, new(true), true
	req.ReadTargets = requestFor("", startErrorApp(t)).Targets
	req.InterceptErrors = "422"
	e.deploy(req)
	next := req
	next.Targets, next.ReadTargets = requestFor("", startErrorApp(t)).Targets, nil
	for _, path := range []string{"/app/200", "/app/422"} {
		got := e.cookiesOf(t, http.MethodPost, path)
		if c := got["session"]; c == nil || c.Path != "/app" {
			t.Errorf("%s: the application's cookie is %v", path, c)
		}
		if c := got["parachute_writer"]; c == nil || c.Path != "/" {
			t.Errorf("%s: the cookie of who has written is %v, and is for all paths of the service", path, c)
		}
	}
	next.Canary = "50%"
	if _, err := wait(t, e.start(next)); err != nil {
		t.Logf("the rollout: %v", err)
	}
	for _, path := range []string{"/app/200", "/app/422"} {
		if got := e.cookiesOf(t, http.MethodGet, path); got["parachute_bucket"] == nil || got["session"] == nil {
			t.Errorf("%s: with a canary, the cookies are %v", path, slices.Sorted(maps.Keys(got)))
		}
	}
}
