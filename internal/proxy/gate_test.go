package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestReportsAreBounded keeps an app that gives another reason each time from
// filling the memory.
func TestReportsAreBounded(t *testing.T) {
	var p api.ProbeReport
	for i := range 1000 {
		p.AddFailure(fmt.Sprint(i))
	}
	last := p.Failures[len(p.Failures)-1]
	if len(p.Failures) != api.MaxProbeFailures || last.Reason != "999" || last.Count != 1000-api.MaxProbeFailures+1 {
		t.Errorf("%d reasons, the last is %+v", len(p.Failures), last)
	}
}

// TestAnAppThatNeverAnswersIsToldAsSuch even if the deploy timeout is over before
// the first probe is.
func TestAnAppThatNeverAnswersIsToldAsSuch(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	silent := testkit.Listen(t, "tcp", "127.0.0.1:0") // accepts, and says nothing
	req := api.DeployRequest{Targets: []string{silent.Addr().String()}, DeployTimeout: testkit.Milliseconds(100)}
	_, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeNotHealthy)
	details := api.AsError(err).Details
	if len(details) != 1 || len(details[0].Failures) != 1 || !strings.Contains(details[0].Failures[0].Reason, "no answer within") {
		t.Errorf("details %+v, want the reason", details)
	}
	if !strings.Contains(api.AsError(err).Hint, "too slow") {
		t.Errorf("hint %q", api.AsError(err).Hint)
	}
}

func TestNotHealthySaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	sick := testkit.StartApp(t, "sick")
	sick.Health.Store(http.StatusNotFound)
	req := requestFor("app", sick, testkit.StartApp(t, "well"))
	req.Targets = append(req.Targets, testkit.RefusedAddress)
	req.DeployTimeout = testkit.Milliseconds(300)
	status, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeNotHealthy)
	if err.Error() != "2 of 3 targets were not healthy within 300ms" {
		t.Errorf("message %q", err)
	}
	details := api.AsError(err).Details
	if len(details) != 3 || details[0].Failures[0].Reason != "404 Not Found" || !details[1].Healthy ||
		details[2].Failures[0].Reason != "connection refused" || details[0].URL != "http://"+sick.Target+"/up" {
		t.Errorf("details %+v", details)
	}
	if len(status.Probes) != 3 {
		t.Errorf("the status has the probes of %d targets", len(status.Probes))
	}
}

func TestHintsFitTheLastFailure(t *testing.T) {
	for reason, want := range map[string]string{
		"connection refused": "nothing listens there",
		"no such socket":     "path of its socket",
		"tls: first record does not look like a TLS handshake": "without https://",
		"it does not speak HTTP/2":                             "without h2c://",
		"host name web-2 does not resolve":                     "same network",
		"302 redirect to /login, which is not followed":        "answers 200 itself",
		"404 Not Found":                                        "no such page",
		"404 Not Found, expected 200":                          "no such page",
		"200 OK, expected 204,301":                             "the statuses that mean healthy",
		`200 OK without "ready" in the answer, which is empty`: "see `health_check_body`",
		`no answer within 5s that contains "ready"`:            "see `health_check_body`",
		"400 Bad Request":                                      "health_check_host",
		"421 Misdirected Request":                              "health_check_host",
		"no answer within 5s":                                  "too slow",
		"connecting timed out":                                 "firewall",
		"500 Internal Server Error":                            "see its log",
		"503 Service Unavailable":                              "see its log",
	} {
		reports := []api.ProbeReport{{Healthy: true}, {Failures: []api.ProbeFailure{{Reason: "connection refused", Count: 1}, {Reason: reason, Count: 2}}}}
		if got := healthHint(api.Spec{}, reports).Text; !strings.Contains(got, want) {
			t.Errorf("%s: hint %q, want it to say %q", reason, got, want)
		}
	}
}

// An app that refuses the host of the service refuses its visitors as well: to check with
// another host would hide that.
func TestRefusedHostOfTheServiceIsAMatterOfTheApp(t *testing.T) {
	reports := []api.ProbeReport{{Target: "web:1", Failures: []api.ProbeFailure{{Reason: "403 Forbidden", Count: 1}}}}
	for want, s := range map[string]api.Spec{
		"allow shop.test in the app's settings": {Hosts: []string{"shop.test"}},
		"see `health_check_host`":               {Hosts: []string{"shop.test"}, Options: api.Options{HealthCheckHost: "a"}},
		"give its `hosts`":                      {},
	} {
		if got := healthHint(s, reports).Text; !strings.Contains(got, want) {
			t.Errorf("%v: hint %q, want it to say %q", s.Hosts, got, want)
		}
	}
}

func TestCancelledGateTellsTheCause(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	sick := testkit.StartApp(t, "a")
	sick.Health.Store(http.StatusServiceUnavailable)
	d := e.start(requestFor("app", sick))
	await(t, d, api.EventProbeFailed, 1)
	cause := &api.Error{Code: api.CodeCancelled, Message: "cause"}
	d.abort(cause)
	if _, err := wait(t, d); !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
}

// TestProxyIsNotItsOwnApp even while the release before it answers for it.
func TestProxyIsNotItsOwnApp(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "a")))
	for _, req := range []api.DeployRequest{
		{Service: "app"},
		{Service: "other", Hosts: []string{"other.test"}}, // whose probes app gets so far
		{Service: "other", Hosts: []string{"*.test"}},
		{Service: "other", PathPrefixes: []string{"/up"}},
	} {
		req.Targets, req.DeployTimeout = []string{strings.TrimPrefix(e.url, "http://")}, testkit.Milliseconds(2000)
		status, err := wait(t, e.start(req))
		wantCode(t, err, api.CodeNotHealthy)
		if e, _ := errors.AsType[*api.Error](err); !strings.Contains(e.Hint, "the proxy itself") {
			t.Errorf("%v: hint %q, probes %+v", req, e.Hint, status.Probes)
		}
	}
	if s, err := e.Service("app"); err != nil || s.Served != 0 {
		t.Errorf("%v, %d requests served, want none: probes that come back are not", err, s.Served)
	}
}

// TestProbesMayComeThroughAnotherService as they do if one is a gateway to the other,
// behind the same proxy.
func TestProbesMayComeThroughAnotherService(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	behind := requestFor("behind", testkit.StartApp(t, "behind"))
	behind.Hosts = []string{"behind.test"}
	e.deploy(behind)
	e.deploy(requestFor("gateway", testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		onwards := e.request(http.MethodGet, "behind.test", r.URL.Path, nil)
		for name, values := range r.Header {
			onwards.Header[name] = values
		}
		status, _ := e.do(onwards)
		w.WriteHeader(status)
	})))
}
