package forward

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestHealthFollowsTheProbes(t *testing.T) {
	ok, slow, refused := probeResult{}, probeResult{reason: "no answer within 5s"}, probeResult{reason: "connection refused", unreachable: true}
	for name, tt := range map[string]struct {
		probes []probeResult
		want   api.Health
		reason string
		// changed is the number of the probe that brought the state about; 0 if none.
		changed int
	}{
		"no probe":                 {nil, "", "", 0},
		"success":                  {[]probeResult{ok}, api.HealthHealthy, "", 1},
		"one slow answer":          {[]probeResult{ok, slow}, api.HealthHealthy, "no answer within 5s", 1},
		"two slow answers":         {[]probeResult{ok, slow, slow}, api.HealthHealthy, "no answer within 5s", 1},
		"three slow answers":       {[]probeResult{ok, slow, slow, slow}, api.HealthFailing, "no answer within 5s", 4},
		"not three in a row":       {[]probeResult{ok, slow, slow, ok, slow, slow}, api.HealthHealthy, "no answer within 5s", 1},
		"refused once":             {[]probeResult{ok, refused}, api.HealthFailing, "connection refused", 2},
		"back":                     {[]probeResult{ok, refused, ok}, api.HealthHealthy, "", 3},
		"still failing":            {[]probeResult{refused, slow, refused, slow}, api.HealthFailing, "no answer within 5s", 1},
		"unverified and slow":      {[]probeResult{slow, slow}, "", "no answer within 5s", 0},
		"unverified and very slow": {[]probeResult{slow, slow, slow}, api.HealthFailing, "no answer within 5s", 3},
	} {
		var h health
		start := time.Unix(0, 0)
		for i, p := range tt.probes {
			h = h.after(p, start.Add(time.Duration(i+1)*time.Second))
		}
		var since time.Time
		if tt.changed > 0 {
			since = start.Add(time.Duration(tt.changed) * time.Second)
		}
		if h.state != tt.want || h.reason != tt.reason || !h.since.Equal(since) {
			t.Errorf("%s: %q (%s) since %v, want %q (%s) since %v", name, h.state, h.reason, h.since, tt.want, tt.reason, since)
		}
	}
}

// fail has the probes of u fail until it counts as failing.
func fail(u *upstream) {
	for range failuresToFail {
		u.observe(probeResult{reason: "503 Service Unavailable"}, time.Now())
	}
}

// TestOnlyTargetIsNeverTakenOut keeps health checks from turning an overload into
// an outage.
func TestOnlyTargetIsNeverTakenOut(t *testing.T) {
	t.Parallel()
	r, front := startRelease(t, startNamed(t, "app"))
	fail(r.upstreams[0])
	if got := answersOf(t, front, 1); !got["app"] {
		t.Errorf("%v answers, want the only target", got)
	}
	if s := r.Status().Targets[0]; s.Health != api.HealthFailing || s.Reason != "503 Service Unavailable" || s.Since == nil {
		t.Errorf("target %+v, want it to be shown as failing", s)
	}
}

func TestFailingTargetsLeaveTheRotationUnlessAllFail(t *testing.T) {
	t.Parallel()
	r, front := startRelease(t, startNamed(t, "one"), startNamed(t, "two"))
	if all := answersOf(t, front, 40); len(all) != 2 {
		t.Errorf("%v answer, want both", all)
	}
	fail(r.upstreams[0])
	if all := answersOf(t, front, 40); len(all) != 1 || !all["two"] {
		t.Errorf("%v answer, want the one that is not failing", all)
	}
	if targets := r.UsableTargets(); len(targets) != 1 {
		t.Errorf("usable targets: %v, want one", targets)
	}
	fail(r.upstreams[1])
	if all := answersOf(t, front, 40); len(all) != 2 {
		t.Errorf("%v answer, want both again", all)
	}
	if targets := r.UsableTargets(); len(targets) != 2 {
		t.Errorf("usable targets: %v, want both again", targets)
	}
}

// startNamed starts an app that answers with its name, and returns its address.
func startNamed(t testing.TB, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// startRelease returns a release with the given targets, and a server that forwards
// every request to it.
func startRelease(t testing.TB, targets ...string) (*Release, *httptest.Server) {
	t.Helper()
	s, err := api.DeployRequest{Service: "app", Targets: targets}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := newTestForwarder().NewRelease(s)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		r.Acquire()
		if err := r.Forward(w, in, "/", Sender{}); err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(func() {
		front.Close()
		r.Close()
	})
	return r, front
}

// answersOf makes n requests and returns the bodies of the answers.
func answersOf(t *testing.T, front *httptest.Server, n int) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for range n {
		resp, err := front.Client().Get(front.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %q, want 200", resp.StatusCode, body)
		}
		all[string(body)] = true
	}
	return all
}

// A frozen target accepts connections and answers nobody. It is still the best that there
// is, but nobody should read that it is healthy.
func TestTargetThatAnswersNoRequestIsShownAsFailingAndStillTried(t *testing.T) {
	t.Parallel()
	thaw, waiting := make(chan struct{}), make(chan struct{}, 10)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		waiting <- struct{}{}
		select {
		case <-thaw:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(app.Close)
	s, err := api.DeployRequest{Service: "app", Targets: []string{strings.TrimPrefix(app.URL, "http://")}, TargetTimeout: new(api.Duration(20 * time.Millisecond))}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := newTestForwarder().NewRelease(s)
	t.Cleanup(r.Close)
	r.upstreams[0].observe(probeResult{}, time.Now())
	send := func() error {
		r.Acquire()
		return r.Forward(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), "/", Sender{})
	}
	for n := 1; n <= failuresToFail+1; n++ {
		if err := send(); !errors.Is(err, ErrTimeout) {
			t.Fatalf("request %d: %v", n, err)
		}
		<-waiting // it was tried
		want := api.HealthHealthy
		if n >= failuresToFail {
			want = api.HealthFailing
		}
		target := r.Status().Targets[0]
		if target.Health != want || (target.Reason != "") != (want == api.HealthFailing) {
			t.Errorf("after %d requests: %+v, want it to be %s", n, target, want)
		}
	}
	if r.upstreams[0].failing() {
		t.Error("what requests do decides where requests are sent")
	}
	close(thaw)
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if target := r.Status().Targets[0]; target.Health != api.HealthHealthy || target.Reason != "" {
		t.Errorf("after an answer: %+v", target)
	}
}

// One slow page among probes that succeed is no failing target.
func TestProbeThatSucceedsTakesBackWhatRequestsHaveShown(t *testing.T) {
	r := monitored(1)
	defer r.Close()
	u := r.upstreams[0]
	shown := func() api.Health { return r.Status().Targets[0].Health }
	u.observe(probeResult{}, time.Now())
	u.observe(probeResult{reason: "no answer within 5s"}, time.Now())
	u.missed()
	u.missed()
	if got := shown(); got != api.HealthFailing {
		t.Errorf("a probe and two requests were not answered: %s", got)
	}
	u.observe(probeResult{}, time.Now())
	u.missed()
	if got := shown(); got != api.HealthHealthy {
		t.Errorf("after a probe that succeeded, and one slow request: %s", got)
	}
}
