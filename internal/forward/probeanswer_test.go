package forward

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// healthPage starts an app whose health page is h, and returns its target.
func healthPage(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	server := &http.Server{ReadHeaderTimeout: testkit.Timeout, Handler: h}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

func TestHealthCheckStatusSaysWhatIsHealthy(t *testing.T) {
	status := http.StatusOK
	target := healthPage(t, func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusFound {
			w.Header().Set("Location", "/login")
		}
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		status int
		wanted string
		want   string
	}{
		{302, "200-399", ""},
		{204, "204,301", ""},
		{401, "401", ""},
		{200, "204,301", "200 OK, expected 204,301"},
		{404, "200 - 399", "404 Not Found, expected 200-399"},
		{302, "200", "302 redirect to /login, which is not followed, expected 200"},
		{404, "200-299", "404 Not Found"},
	} {
		status = c.status
		if got := probe(t, target, func(r *api.DeployRequest) { r.HealthCheckStatus = c.wanted }); got.reason != c.want {
			t.Errorf("%d, expected %s: %q, want %q", c.status, c.wanted, got.reason, c.want)
		}
	}
}

func TestHealthCheckBodyHasToBeInTheAnswer(t *testing.T) {
	answer := ""
	target := healthPage(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	for _, c := range []struct{ name, answer, want string }{
		{"in it", `{"status":"ready now"}`, ""},
		{"at the end of 64 KiB", strings.Repeat(".", maxAnswer-9) + "ready now", ""},
		{"across two reads", strings.Repeat(".", 4091) + "ready now", ""},
		{"behind 64 KiB", strings.Repeat(".", maxAnswer-8) + "ready now", "of which 64 KiB were read"},
		{"empty", "", `200 OK without "ready now" in the answer, which is empty`},
		{"something else", "starting\n\x1b[31m up", `200 OK without "ready now" in the answer: "starting ?[31m up"`},
	} {
		answer = c.answer
		got := probe(t, target, func(r *api.DeployRequest) { r.HealthCheckBody = "ready now" })
		if (c.want == "") != got.ok() || !strings.Contains(got.reason, c.want) || strings.ContainsFunc(got.reason, api.IsControl) {
			t.Errorf("%s: %q, want %q", c.name, got.reason, c.want)
		}
	}
}

// TestAnswerWithoutAnEndIsWaitedForNoLongerThanTheTimeout, whether it comes slowly or not at
// all, and what is in it counts as soon as it is there.
func TestAnswerWithoutAnEndIsWaitedForNoLongerThanTheTimeout(t *testing.T) {
	target := healthPage(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "starting")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for text, want := range map[string]string{"start": "", "ready": `no answer within 50ms that contains "ready"`} {
		got := probe(t, target, func(r *api.DeployRequest) {
			r.HealthCheckBody, r.HealthCheckTimeout = text, testkit.Milliseconds(50)
			if want == "" {
				r.HealthCheckTimeout = new(api.Duration(testkit.Timeout))
			}
		})
		if got.reason != want {
			t.Errorf("%s: %q, want %q", text, got.reason, want)
		}
	}
}

// TestWordsOfAnAnswerAreNoReasonOfTheirOwn because a page with a clock in it would be told
// with every probe.
func TestWordsOfAnAnswerAreNoReasonOfTheirOwn(t *testing.T) {
	probes := 0
	target := healthPage(t, func(w http.ResponseWriter, _ *http.Request) {
		if probes++; probes == 4 {
			_, _ = io.WriteString(w, "ready")
			return
		}
		_, _ = fmt.Fprintf(w, "starting for the %d. time", probes)
	})
	s, err := api.DeployRequest{Targets: []string{target}, HealthCheckBody: "ready"}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := newTestForwarder().NewRelease(s)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	told := 0
	report := r.upstreams[0].untilHealthy(ctx, time.Second, func(string, string, bool) { told++ })
	if !report.Healthy || told != 1 || len(report.Failures) != 1 || report.Failures[0].Count != 3 || !strings.Contains(report.Failures[0].Reason, "the 3. time") {
		t.Errorf("told %d times, report %+v", told, report)
	}
}
