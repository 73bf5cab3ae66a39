package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// silent reads a request and never answers.
func silent(_ int, _ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }

// Which of five timeouts was over, and of which service's target, is what everybody asks
// of a request that has failed.
func TestFailedRequestsNameWhatTheyWereAboutAndTheTimeThatWasOver(t *testing.T) {
	t.Parallel()
	for setting, tt := range map[string]struct {
		change func(*api.DeployRequest)
		target func() string
		want   error
	}{
		"target_timeout": {
			func(r *api.DeployRequest) { r.TargetTimeout = testkit.Milliseconds(20) },
			func() string { return testkit.StartRawApp(t, silent) }, forward.ErrTimeout,
		},
		"hold_timeout": {
			func(r *api.DeployRequest) { r.HoldTimeout = testkit.Milliseconds(20) },
			func() string { return testkit.RefusedAddress }, forward.ErrUnreachable,
		},
		"": { // none is over: there is no hold
			func(r *api.DeployRequest) { r.HoldTimeout = testkit.Milliseconds(0) },
			func() string { return testkit.RefusedAddress }, forward.ErrUnreachable,
		},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			target := tt.target()
			e.deployRaw(tt.change, target)
			req := e.request(http.MethodGet, "h", "/", nil)
			req.Header.Set("X-Request-Id", "given")
			began := time.Now()
			e.do(req)
			wantFailure(t, testkit.Receive(t, e.errs, "the error"), tt.want, setting, target, time.Since(began))
		})
	}
}

func TestCutRequestsNameTheDrainTimeout(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	e.deploy(requestFor("app", old))
	began := time.Now()
	go e.get("h", "/slow")
	testkit.Receive(t, old.Arrived, "the slow request")
	req := requestFor("app", testkit.StartApp(t, "new"))
	req.DrainTimeout = testkit.Milliseconds(20)
	e.deploy(req)
	wantFailure(t, testkit.Receive(t, e.errs, "the error"), forward.ErrCut, "drain_timeout", old.Target, time.Since(began))
}

// wantFailure fails the test unless err, which took at most took, says all that there is
// to say: in the fields of a log, and in its text for a log that has none.
func wantFailure(t *testing.T, err, want error, setting, target string, took time.Duration) {
	t.Helper()
	f, ok := errors.AsType[*forward.Failure](err)
	if !ok || !errors.Is(err, want) {
		t.Fatalf("the error is %v, want a failure by %v", err, want)
	}
	if f.Service != "app" || f.Release != 1 || f.Target != target || string(f.Setting) != setting || f.RequestID == "" || f.Duration <= 0 || f.Duration > took {
		t.Errorf("%+v, within %s", f, took)
	}
	for _, part := range []string{want.Error(), "service app, release 1, target " + target + ", request ", ", after "} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if overdue := "longer than `" + setting + "`"; setting != "" && !strings.Contains(err.Error(), overdue) {
		t.Errorf("%q does not say that %s", err, overdue)
	}
	fields := zapcore.NewMapObjectEncoder()
	for _, field := range LogFields(err) {
		field.AddTo(fields)
	}
	names := []string{"service", "release", "target", "request_id", "duration", "error"}
	if setting != "" {
		names = append(names, "setting")
	}
	for name := range fields.Fields {
		if !slices.Contains(names, name) {
			t.Errorf("the log has an unexpected field %s", name)
		}
	}
	if len(fields.Fields) != len(names) || fields.Fields["target"] != target || strings.Contains(fields.Fields["error"].(string), "service app") {
		t.Errorf("the log has %v", fields.Fields)
	}
}
