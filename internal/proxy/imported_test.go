package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestImportedServiceIsReadAgainAsItWas(t *testing.T) {
	hold, err := api.HoldRequest{Message: "Back at noon"}.Resolve(api.Stopped)
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	i := Imported{
		Request: api.DeployRequest{Service: "app", Targets: []string{"web-1:80"}, ReadTargets: []string{"replica-1:80"}, Hosts: []string{"app.test"}, ErrorPages: pagesIn(t, map[string]string{"503.html": "Soon"}), TLS: &api.TLSRequest{Redirect: &yes}},
		Hold:    &hold,
		Canary:  &ImportedCanary{Targets: []string{"web-2:80"}, ReadTargets: []string{"replica-2:80"}, By: "cookie:team", Weight: 2500, Values: []string{"17"}},
	}
	before := []byte(`{"format":1,"service":"app","release":4,"last_release":6}`)
	for _, c := range []struct {
		before  []byte
		release int
	}{{nil, 1}, {before, 7}, {[]byte("torn"), 1}} {
		b, err := i.Document(c.before, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		s, err := decodeDocument("app", b)
		if err != nil {
			t.Fatal(err)
		}
		if s.Release != c.release || s.Candidate.Release != c.release+1 || s.Format != 4 {
			t.Errorf("the releases are %d and %d, the format is %d", s.Release, s.Candidate.Release, s.Format)
		}
		if s.Hold.Message != "Back at noon" || s.Candidate.Weight != 2500 || s.Candidate.Values[0] != "17" || s.candidate.Targets[0].Address != "web-2:80" || s.active.Options.TLS == nil {
			t.Errorf("it is %s", b)
		}
		if s.active.ErrorPages["503.html"] != "Soon" || s.active.ReadTargets[0].Address != "replica-1:80" || s.candidate.ReadTargets[0].Address != "replica-2:80" {
			t.Errorf("the pages or the read targets are missing: %s", b)
		}
	}
	if _, err := (Imported{Request: api.DeployRequest{Service: "app"}}).Document(nil, time.Now()); err == nil {
		t.Error("a service without targets is stored")
	}
}

func TestServiceThatCouldNotBeImportedIsBrokenForThatReason(t *testing.T) {
	b, err := Imported{Request: api.DeployRequest{Service: "app"}, Broken: "it has no target"}.Document(nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeDocument("app", b); err == nil || !strings.Contains(err.Error(), "it has no target") {
		t.Errorf("%v", err)
	}
}
