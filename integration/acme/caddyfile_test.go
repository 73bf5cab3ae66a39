package acme

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// serveSite gives the user's config file a site of its own.
func (s *server) serveSite(host string, handler object) {
	s.config["apps"].(object)["http"] = object{"servers": object{"site": object{
		"listen": []any{":443"},
		"routes": []any{object{
			"match":  []any{object{"host": []any{host}}},
			"handle": []any{handler},
		}},
	}}}
}

// The sites of a user's config file get their certificates from the authority that
// the flags of run name, beside the services.
func TestSitesOfTheConfigFileGetCertificates(t *testing.T) {
	t.Parallel()
	own := "own." + domain
	s := startServer(t, func(s *server) { s.serveSite(own, object{"handler": "static_response", "body": "own"}) })
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls").wantDone(t)
	s.wantBody(t, host, "app", s.ca.roots)
	waitFor(t, "the certificate of the site", func() bool {
		_, err := s.handshake(own, nil)
		return err == nil
	})
	s.wantBody(t, own, "own", s.ca.roots)
	if n := s.ca.ordersFor(own); n != 1 {
		t.Errorf("%d orders for the site", n)
	}
}

// An ordinary Caddy keeps its sites, its policies and its permissions, and a site for
// all other names serves what is deployed.
func TestCatchAllSiteOfACaddyfileServesDeployedHosts(t *testing.T) {
	t.Parallel()
	own, demanded, internal := "own."+domain, "demanded."+domain, "internal."+domain
	ask := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("domain") != demanded {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	s := startServer(t, func(s *server) {
		var err error
		s.ca, err = startAuthority(s.options, s.Dir, s.HTTPPort, s.HTTPSPort)
		must(t, err)
		s.Caddyfile = filepath.Join(s.Dir, "Caddyfile")
		must(t, os.WriteFile(s.Caddyfile, fmt.Appendf(nil, `{
	admin %s
	storage file_system %s
	default_bind 127.0.0.1
	http_port %d
	https_port %d
	acme_ca %s
	acme_ca_root %s
	on_demand_tls {
		ask %s/may
	}
}
%s {
	respond "own"
}
%s {
	tls {
		on_demand
	}
	respond "demanded"
}
%s {
	tls internal
	respond "internal"
}
https:// {
	tls {
		get_certificate parachute
	}
	parachute
}
http:// {
	parachute
}
`, s.Admin(), s.path("storage"), s.HTTPPort, s.HTTPSPort, s.ca.url, s.ca.rootFile, ask.URL, own, demanded, internal), 0o600))
	})
	host, inside, unknown := newHost(), newHost(), newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls").wantDone(t)
	s.deploy(t, startApp(t, named("inside")).addr(), "--host", inside, "--tls=internal").wantDone(t)
	s.wantBody(t, host, "app", s.ca.roots)
	s.wantBody(t, inside, "inside", s.internalRoots(t))
	waitFor(t, "the certificate of the site", func() bool {
		_, err := s.handshake(own, nil)
		return err == nil
	})
	s.wantBody(t, own, "own", s.ca.roots)
	s.wantBody(t, demanded, "demanded", s.ca.roots)
	s.wantBody(t, internal, "internal", s.internalRoots(t))
	if _, err := s.handshake(unknown, nil); err == nil {
		t.Error("a handshake for an unknown name succeeds")
	}
	if got := s.ca.orders(); len(got) != 3 || got[own] != 1 || got[demanded] != 1 || got[host] != 1 {
		t.Errorf("the orders are %v", got)
	}
	if resp, _ := s.raw(t, "GET", "/x", host); resp.Header.Get("Location") != s.https(host, "/x") {
		t.Errorf("over HTTP: %s to %q", resp.Status, resp.Header.Get("Location"))
	}

	// A reload changes nothing of that.
	must(t, s.Reload())
	s.wantBody(t, host, "app", s.ca.roots)
	s.wantBody(t, inside, "inside", s.internalRoots(t))
	s.wantBody(t, own, "own", s.ca.roots)
	if n := s.ca.total(); n != 3 {
		t.Errorf("%d orders after the reload", n)
	}
	if n := ask.requests.Load(); n == 0 {
		t.Error("the site's own URL was not asked")
	}
}

// Caddy gets the certificate of a site that hands its requests to a service. A deploy
// waits for that one, and orders none of its own.
func TestDeployToASiteWaitsForTheCertificateOfCaddy(t *testing.T) {
	t.Parallel()
	own := "own." + domain
	s := startServer(t, func(s *server) { s.serveSite(own, object{"handler": "parachute"}) })
	s.deploy(t, startApp(t, named("app")).addr(), "--host", own, "--tls").wantDone(t)
	s.wantBody(t, own, "app", s.ca.roots)
	if n := s.ca.ordersFor(own); n != 1 {
		t.Errorf("%d orders for the site", n)
	}
}
