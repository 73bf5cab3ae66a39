package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// serviceWithTLS returns a service that redirects to HTTPS.
func serviceWithTLS(certificates ...api.Certificate) api.ServiceStatus {
	return api.ServiceStatus{
		Name: "a.test", Hosts: []string{"a.test"}, PathPrefixes: []string{"/"}, TLS: true, Certificates: certificates,
		Active: &api.ReleaseStatus{Release: 1, Options: api.Options{PathPrefixes: []string{"/"}, TLS: &api.TLSOptions{Redirect: true}}},
	}
}

// What an authority says would make every line of the table as long.
func TestListIsShortAndStatusTellsWhy(t *testing.T) {
	reason := "the certificate authority says: " + strings.Repeat("no ", 60)
	s := serviceWithTLS(api.Certificate{Host: "a.test", Error: reason})
	var list, status bytes.Buffer
	if err := (&listing{services: []api.ServiceStatus{s}, now: time.Now()}).table().print(&list, 0); err != nil {
		t.Fatal(err)
	}
	if err := printStatus(&status, s, style{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(list.String(), "a.test: cannot be obtained\n") {
		t.Errorf("the list is\n%s", list.String())
	}
	if !strings.Contains(status.String(), "cannot be obtained: "+reason) {
		t.Errorf("the status is\n%s", status.String())
	}
}

// In a fleet, the list tells of what not all proxies serve, and the status of all of them.
func TestListAndStatusTellHowManyProxiesServe(t *testing.T) {
	for _, of := range []struct {
		share        api.FleetShare
		list, status string
	}{
		{api.FleetShare{Serving: 2, Of: 3, Lacking: []string{"proxy-3"}}, ", on 2 of 3 proxies", "2 of 3 proxies serve it so, not proxy-3\n"},
		{api.FleetShare{Serving: 3, Of: 3}, "", "3 of 3 proxies serve it so\n"},
	} {
		s := serviceWithTLS()
		s.Proxies = &of.share
		var list, status bytes.Buffer
		if err := (&listing{services: []api.ServiceStatus{s}, now: time.Now()}).table().print(&list, 0); err != nil {
			t.Fatal(err)
		}
		if err := printStatus(&status, s, style{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(list.String(), of.list) || strings.Contains(list.String(), "proxies") != (of.list != "") {
			t.Errorf("the list is\n%s", list.String())
		}
		if !strings.Contains(status.String(), of.status) {
			t.Errorf("the status is\n%s", status.String())
		}
	}
}

func TestStatusTellsWhoIsNotRedirectedYet(t *testing.T) {
	now := time.Now()
	there := api.Certificate{Host: "there.test", NotBefore: &now, NotAfter: &now}
	for want, s := range map[string]api.ServiceStatus{
		"redirected to https": serviceWithTLS(there),
		"redirected to https, except for a.test: served until there is a certificate": serviceWithTLS(there, api.Certificate{Host: "a.test"}),
	} {
		if got := plainHTTPOf(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	onDemand := serviceWithTLS(api.Certificate{Host: "a.test"})
	onDemand.Active.Options.TLS.OnDemandURL = "/ask"
	if got := plainHTTPOf(onDemand); got != "redirected to https" {
		t.Errorf("on demand: %q", got)
	}
}
