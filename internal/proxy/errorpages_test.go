package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/errorpage"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// pagesIn writes files to a directory, and returns its path.
func pagesIn(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestErrorPagesOfNoUseAreRefused(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	app := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", app))
	before := e.picture()
	large := strings.Repeat("x", errorpage.MaxBytes/2)
	withPipe := pagesIn(t, map[string]string{"502.html": ""})
	if err := os.Mkdir(filepath.Join(withPipe, "503.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ dir, want string }{
		"missing":        {filepath.Join(t.TempDir(), "pages"), "no such file"},
		"a file":         {filepath.Join(pagesIn(t, map[string]string{"503.html": ""}), "503.html"), "not a directory"},
		"empty":          {t.TempDir(), "no page among the files"},
		"no page":        {pagesIn(t, map[string]string{"index.html": "", "503.txt": ""}), "no page among the files"},
		"no template":    {pagesIn(t, map[string]string{"503.html": "{{if}}"}), "503.html:1"},
		"no such field":  {pagesIn(t, map[string]string{"503.html": "{{.Secret}}"}), "503.html:1"},
		"too large":      {pagesIn(t, map[string]string{"502.html": large, "503.html": large, "504.html": "x"}), "has more than"},
		"relative":       {"pages", "not the absolute path of a directory"},
		"with something": {withPipe, ""},
	} {
		req := requestFor("app", app)
		req.ErrorPages = c.dir
		d, err := e.Deploy(req.Patch())
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				_, _ = wait(t, d)
			}
			continue
		}
		wantCode(t, err, api.CodeInvalid)
		if e := api.AsError(err); !strings.Contains(e.Message, c.want) || !strings.Contains(e.Hint, "error_pages") {
			t.Errorf("%s: %q, hint %q, want %q", name, e.Message, e.Hint, c.want)
		}
		if now := e.picture(); !strings.Contains(name, "something") && now != before && e.Services()[0].Active.Release == 1 {
			t.Errorf("%s: it has changed something", name)
		}
	}
}

// pageOf returns the page that the service has for a request which fails.
func (e *testEngine) pageOf(page errorpage.Page) string {
	e.t.Helper()
	for len(e.errs) > 0 {
		<-e.errs
	}
	_, _ = e.get("h", "/")
	failure, ok := errors.AsType[*forward.Failure](testkit.Receive(e.t, e.errs, "a failure"))
	if !ok {
		e.t.Fatal("another error than a failure")
	}
	body, err := failure.Pages.Render(page)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(body)
}

// TestErrorPagesAreKeptWithTheRelease so that a directory that is gone costs what serves nothing,
// over a restart. The next deploy uses what is there then.
func TestErrorPagesAreKeptWithTheRelease(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	dir := pagesIn(t, map[string]string{"503.html": "first {{.Message}}"})
	req := requestFor("app", testkit.StartApp(t, "app"))
	req.ErrorPages = dir
	e.deploy(req)
	e.holdAs(api.Stopped, api.HoldRequest{Message: "noon"})
	page := errorpage.Page{Status: 503, Message: "noon"}
	if got := e.pageOf(page); got != "first noon" {
		t.Errorf("the page is %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "503.html"), []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	restarted := loaded(t, e.store)
	if got := restarted.pageOf(page); got != "first noon" {
		t.Errorf("after a restart, the page is %q", got)
	}
	plan, err := restarted.Plan(api.Patch{"service": "app"})
	if err != nil || !strings.Contains(strings.Join(plan.Changes, "\n"), "error-pages: the files have changed") {
		t.Errorf("the plan of a deploy is %q, %v", plan.Changes, err)
	}
	restarted.deployPatch(api.Patch{"service": "app"})
	if got := restarted.pageOf(page); got != "second" {
		t.Errorf("after a deploy, the page is %q", got)
	}
	restarted.deployPatch(api.Patch{"service": "app", "error_pages": nil})
	if got := restarted.pageOf(page); got != "" {
		t.Errorf("without pages, the page is %q", got)
	}
}

// TestErrorsAreReplacedForBrowsersAlone, and only those that are asked for.
func TestErrorsAreReplacedForBrowsersAlone(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	app := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("X-Secret", "stack trace")
		status := map[string]int{"/500": 500, "/503": 503, "/404": 404}[r.URL.Path]
		w.WriteHeader(status)
		_, _ = w.Write([]byte("the application's"))
	})
	e.deploy(requestFor("plain", app))
	req := requestFor("app", app)
	req.Hosts, req.InterceptErrors = []string{"h"}, "404, 500-502"
	e.deploy(req)
	for _, c := range []struct {
		host, path, accept string
		replaced           bool
	}{
		{"h", "/500", "text/html,*/*;q=0.8", true},
		{"h", "/404", "text/html", true},
		{"h", "/503", "text/html", false},
		{"h", "/500", "*/*", false},
		{"h", "/500", "application/json", false},
		{"h", "/500", "", false},
		{"other", "/500", "text/html", false},
	} {
		r := e.request(http.MethodGet, c.host, c.path, nil)
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		resp, err := e.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		err = testkit.Receive(t, e.errs, "the end of the request")
		intercepted, replaced := errors.AsType[*forward.InterceptedError](err)
		if replaced != c.replaced || replaced && (http.StatusText(intercepted.Status) == "" || StatusOf(err) != intercepted.Status) {
			t.Errorf("%+v: %v", c, err)
		}
		if (resp.Header.Get("X-Secret") == "") != c.replaced || resp.Header.Get("Retry-After") != "7" {
			t.Errorf("%+v: the client gets %v", c, resp.Header)
		}
	}
	if active, _ := e.Service("app"); active.Active.Targets[0].Health != api.HealthHealthy {
		t.Errorf("the target is %s", active.Active.Targets[0].Health)
	}
	for _, bad := range []string{"200", "399-500", "abc", "500-400", "600"} {
		req.InterceptErrors = bad
		_, err := e.Deploy(req.Patch())
		wantCode(t, err, api.CodeInvalid)
	}
}

// TestReplacedAnswerKeepsNobodyWaiting for a body that nobody gets.
func TestReplacedAnswerKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	conns := make(chan net.Conn, 1)
	req := requestFor("app")
	req.Force, req.InterceptErrors = true, "500-599"
	req.Targets = []string{testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		if in, err := http.ReadRequest(r); err != nil || in.URL.Path == api.DefaultHealthCheckPath {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nhalf")
		_, _ = r.ReadByte() // until the proxy gives up the connection
		conns <- conn
	})}
	e.deploy(req)
	r := e.request(http.MethodGet, "h", "/", nil)
	r.Header.Set("Accept", "text/html")
	resp, err := e.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if intercepted, ok := errors.AsType[*forward.InterceptedError](testkit.Receive(t, e.errs, "the end of the request")); !ok || intercepted.Status != 503 {
		t.Errorf("%v", intercepted)
	}
	testkit.Receive(t, conns, "the connection to be given up")
}
