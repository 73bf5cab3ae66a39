package acme

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// state returns the documents of all services, by their path.
func (s *server) state(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	files, err := filepath.Glob(filepath.Join(s.Dir, "storage", "parachute", "services", "*", "*"))
	must(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		all[file] = string(b)
	}
	return all
}

// rateLimited is what Let's Encrypt says to who asks too often.
var rateLimited = &problem{
	Type:   "urn:ietf:params:acme:error:rateLimited",
	Detail: "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2030-01-01 12:00:00 UTC",
	Status: http.StatusTooManyRequests,
}

// A deploy that gets no certificate changes nothing, and says why in the words of
// the authority.
func TestDeployWithoutACertificateChangesNothing(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	for _, c := range []struct {
		name    string
		host    string
		prepare func()
		reasons []string
	}{
		{"the name is refused", blocked, func() {}, []string{blocked, "forbidden by policy"}},
		{"the name does not resolve", "app." + nowhere, func() {}, []string{"app." + nowhere, "ould not resolve"}},
		{"too many orders", newHost(), func() { s.ca.refuse(func(string) *problem { return rateLimited }) }, []string{"retry after 2030-01-01 12:00:00 UTC"}},
		{"the authority is down", newHost(), s.ca.close, []string{"connection refused"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.prepare()
			next := startApp(t, named("next")).addr()
			s.deploy(t, next, "--host", c.host, "--tls").wantFailed(t, c.reasons...)
			if all := s.services(t); len(all) > 0 {
				t.Errorf("after a first deploy that failed, list says %+v", all)
			}
			if a := s.get(t, "http://"+c.host+"/", nil); a.StatusCode != http.StatusNotFound {
				t.Errorf("after a first deploy that failed: %s", a)
			}

			s.deploy(t, startApp(t, named("old")).addr(), "--host", c.host).wantDone(t)
			before := s.state(t)
			d := s.deploy(t, next, "--host", c.host, "--tls")
			d.wantFailed(t, c.reasons...)
			if last := d.lines[len(d.lines)-1]; last.Serving != 1 || !strings.Contains(d.Stderr, "v1 still serves") {
				t.Errorf("nobody says that v1 still serves: %+v\n%s", last, d.Stderr)
			}
			if a := s.get(t, "http://"+c.host+"/", nil); a.body != "old" {
				t.Errorf("after the failure: %s", a)
			}
			for file, content := range s.state(t) {
				if before[file] != content {
					t.Errorf("%s has changed", filepath.Base(file))
				}
			}
			if x := s.status(t, c.host); x.TLS || x.Active.Release != 1 || len(x.Certificates) > 0 {
				t.Errorf("list says %+v", x)
			}
			r, err := s.Run("remove", c.host)
			must(t, err)
			if r.Code != 0 {
				t.Errorf("removing: %s", r.Stderr)
			}
		})
	}
	s.ca.refuse(nil)
	must(t, s.ca.open())
	host := newHost()
	s.deploy(t, startApp(t, named("at last")).addr(), "--host", host, "--tls").wantDone(t)
	s.wantBody(t, host, "at last", s.ca.roots)
}

// A service with a certificate keeps it when a deploy with another host fails.
func TestFailedDeployKeepsServingOverTLS(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	s.deploy(t, startApp(t, named("old")).addr(), "--service", "web", "--host", host, "--tls").wantDone(t)
	d := s.deploy(t, startApp(t, named("next")).addr(), "--service", "web", "--host", host, "--host", blocked, "--tls")
	d.wantFailed(t, blocked, "forbidden by policy")
	s.wantBody(t, host, "old", s.ca.roots)
	if _, err := s.handshake(blocked, nil); err == nil {
		t.Errorf("there is a certificate for %s", blocked)
	}
	if x := s.status(t, "web"); !x.TLS || x.Active.Release != 1 || len(x.Certificates) != 1 {
		t.Errorf("list says %+v", x)
	}
}

// Certificates are for names, and for a wildcard the authority wants a proof that
// needs access to the name server: what cannot work is refused before anything is
// asked.
func TestHostsThatCannotHaveCertificatesAreRefused(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	for name, args := range map[string][]string{
		"no host":    {"--service", "nameless", "--tls"},
		"a wildcard": {"--host", "*.wild." + domain, "--tls"},
	} {
		before := s.ca.total()
		d := s.deploy(t, append([]string{startApp(t, named("app")).addr()}, args...)...)
		if d.Code == 0 || !strings.Contains(d.Stderr, "hint") && !strings.Contains(d.Stderr, "--") {
			t.Errorf("%s: %d %s", name, d.Code, d.Stderr)
		}
		if n := s.ca.total() - before; n > 0 {
			t.Errorf("%s: %d orders", name, n)
		}
	}
}

// A proxy that serves no HTTPS cannot deploy with it, and one that cannot do what it is
// told to does not start.
func TestProxiesThatCannotServeTLS(t *testing.T) {
	t.Parallel()
	t.Run("no HTTPS port", func(t *testing.T) {
		p := rigtest.NewProxy(t)
		p.HTTPSPort = 0
		must(t, p.Start())
		r, err := p.Run("deploy", startApp(t, named("app")).addr(), "--host", newHost(), "--tls")
		must(t, err)
		if r.Code != 2 || !strings.Contains(r.Stderr, "--https-port") {
			t.Errorf("the deploy ended with %d: %s", r.Code, r.Stderr)
		}
	})
	for name, flags := range map[string][]string{
		"no such DNS provider":       {"--acme-dns", "nobody"},
		"no such version":            {"--min-tls", "1.1"},
		"half of an account's key":   {"--acme-eab-key-id", "x"},
		"no root of the ACME server": {"--acme-ca-root", "/no/such/file.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			p := rigtest.NewProxy(t)
			r, err := p.Run(append(append([]string{"run"}, p.RunArgs()...), flags...)...)
			must(t, err)
			if r.Code == 0 || !strings.Contains(r.Stderr, flags[0]) && !strings.Contains(r.Stderr, flags[1]) {
				t.Errorf("it ended with %d: %s", r.Code, r.Stderr)
			}
		})
	}
}
