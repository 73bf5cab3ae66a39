package proxy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// Who is asked before the switch can refuse it, and silence is no consent.
func TestWhoIsAskedBeforeTheSwitchCanRefuseIt(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "old")))
	next := testkit.StartApp(t, "next")
	proposals := make(chan api.Proposal, 10)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a refusal":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "its answer is 403"},
		"a redirect":          {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/yes", http.StatusFound) }, "its answer is 302"},
		"a reason":            {answerVeto(http.StatusOK, `{"allow": false, "reason": "freeze until\u001b Monday"}`), "freeze until"},
		"a refusal, a reason": {answerVeto(http.StatusConflict, `{"reason": "not now"}`), "not now"},
		"no reason":           {answerVeto(http.StatusOK, `{"allow": false}`), "it says no"},
		"no answer":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "it cannot be asked"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var p api.Proposal
				_ = json.NewDecoder(r.Body).Decode(&p)
				proposals <- p
				c.answer(w, r)
			}))
			defer server.Close()
			_, err := wait(t, e.startPatch(api.Patch{"service": "app", "targets": []string{next.Target}, "sticky": true, "before_switch": server.URL}))
			wantCode(t, err, api.CodeVetoed)
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("error %q, want %s", err, c.want)
			}
			p := testkit.Receive(t, proposals, "the question")
			if p.Service != "app" || p.Serving != 1 || p.Targets[0] != next.Target || len(p.Changes) != 2 || p.Deployment == "" {
				t.Errorf("asked about %+v", p)
			}
			e.wantAnswer("h", "/", "old")
		})
	}
	e.checkConsistent()
}

func answerVeto(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// The operator of the proxy is asked about every switch, rollbacks included.
func TestOperatorIsAskedBeforeEverySwitch(t *testing.T) {
	t.Parallel()
	allow := make(chan bool, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !<-allow {
			w.WriteHeader(http.StatusLocked)
		}
	}))
	defer server.Close()
	e := newTestEngine(t, func(o *EngineOptions) { o.BeforeSwitch = func() string { return server.URL } })
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	for _, app := range []*testkit.App{a, b} {
		allow <- true
		e.deploy(requestFor("app", app))
	}
	allow <- false
	_, err := e.rollback("app", api.RollbackRequest{})
	wantCode(t, err, api.CodeVetoed)
	e.wantAnswer("h", "/", "b")
	allow <- true
	if _, err := e.rollback("app", api.RollbackRequest{}); err != nil {
		t.Error(err)
	}
	e.wantAnswer("h", "/", "a")
	for _, bad := range []string{"ask", "ftp://a.test/", "http://"} {
		_, err := e.Deploy(api.Patch{"service": "app", "before_switch": bad})
		wantCode(t, err, api.CodeInvalid)
	}
}
