package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestWhatDoesNotMendItselfIsToldWhileTheDeployWaits, with the way out, and the deploy goes
// on: the app may be starting after all.
func TestWhatDoesNotMendItselfIsToldWhileTheDeployWaits(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "a")
	a.Health.Store(http.StatusNotFound)
	req := requestFor("app", a)
	req.DeployTimeout = new(api.Duration(testkit.Timeout))
	start := time.Now()
	d := e.start(req)
	if ev := await(t, d, api.EventProbeFailed, 1); ev.Hint != "" {
		t.Errorf("the first failure has the hint %q", ev.Hint)
	}
	ev := await(t, d, api.EventProbeFailed, 2)
	if took := time.Since(start); took < time.Second || took > testkit.Timeout/2 {
		t.Errorf("told after %s", took)
	}
	if ev.Reason != "404 Not Found" || !strings.Contains(ev.Hint, "set `health_check_path`") || len(ev.Fields) != 1 || ev.Target != a.Target {
		t.Errorf("%+v", ev)
	}
	a.Health.Store(http.StatusOK)
	if _, err := wait(t, d); err != nil {
		t.Errorf("the deploy has not waited: %v", err)
	}
}

// TestStartingAppsAreNoReasonForAdvice because they refuse connections, or answer 503.
func TestStartingAppsAreNoReasonForAdvice(t *testing.T) {
	for reason, want := range map[string]bool{
		"connection refused": false, "no such socket": false, "503 Service Unavailable": false, "500 Internal Server Error": false,
		"no answer within 5s": false, "connection reset": false,
		"404 Not Found": true, "403 Forbidden": true, "302 redirect to /login, which is not followed": true,
		"host name web-2 does not resolve": true, "it speaks TLS, not plain HTTP": true,
		"its certificate has expired on 2026-01-01": true, `200 OK without "ready" in the answer, which is empty`: true,
	} {
		if _, early := failureHint(api.Spec{}, "web:1", reason); early != want {
			t.Errorf("%s: told early: %v", reason, early)
		}
	}
}

func TestHintsSayWhatToWrite(t *testing.T) {
	ca := api.Spec{Options: api.Options{TargetCA: "/etc/ca.pem"}}
	for _, c := range []struct {
		s                    api.Spec
		target, reason, want string
	}{
		{api.Spec{}, "web:1", "it speaks TLS, not plain HTTP", "write the target as https://web:1"},
		{api.Spec{}, "h2c://web:1", "it speaks TLS, not plain HTTP", "write the target as https://web:1"},
		{api.Spec{}, "web:1", "it speaks HTTP/2 only", "write the target as h2c://web:1"},
		{api.Spec{}, "unix//run/a.sock", "it speaks HTTP/2 only", "sockets get plain HTTP/1.1"},
		{api.Spec{}, "unix//run/a.sock", "it speaks FastCGI, not HTTP", "put a web server that speaks FastCGI in front"},
		{api.Spec{}, "web:1", `malformed HTTP answer: it begins with "SSH-2.0-x"`, "give the port"},
		{api.Spec{}, "web:1", "connection closed without an answer", "speaks HTTP there"},
		{api.Spec{}, "https://web:1", `its certificate is from an authority that is not trusted, "Ours"`, "as `target_ca`, or accept any certificate with `target_insecure`"},
		{ca, "https://web:1", `its certificate is from an authority that is not trusted, "Ours"`, "in the file of `target_ca`, /etc/ca.pem"},
		{api.Spec{}, "https://web:1", "its certificate is signed by itself, and not trusted", "that certificate as `target_ca`"},
		{api.Spec{}, "https://web:1", "its certificate is for app.test, b.test, but web was asked for", "with `target_server_name=app.test`"},
		{api.Spec{}, "https://web:1", "its certificate is for app.test, but web was asked for", "with `target_server_name=app.test`"},
		{api.Spec{}, "https://web:1", "its certificate is for *.a.test, but web was asked for", "with `target_server_name=app.a.test`"},
		{api.Spec{}, "https://web:1", "its certificate has expired on 2026-01-01", "renew it"},
		{api.Spec{}, "https://web:1", "its certificate is not valid before 2026-01-01 00:00:00", "clock"},
		{api.Spec{}, "https://web:1", "tls: certificate required", "turn that off"},
		// A page may say anything.
		{api.Spec{}, "web:1", `200 OK without "x" in the answer: "connection refused: it speaks TLS, and timed out"`, "see `health_check_body`"},
	} {
		if got, _ := failureHint(c.s, c.target, c.reason); !strings.Contains(got.Text, c.want) {
			t.Errorf("%s, %s: %q, want %q", c.target, c.reason, got.Text, c.want)
		}
	}
}
