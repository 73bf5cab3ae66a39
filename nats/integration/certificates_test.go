package integration

import (
	"crypto/tls"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// serials returns the serial numbers of the certificates that proxies have for a host; one if it is the same.
func serials(t *testing.T, host string, proxies ...*rig.Proxy) []string {
	t.Helper()
	seen := make(map[string]bool)
	var all []string
	for i, p := range proxies {
		state, err := handshake(p, &tls.Config{ServerName: host})
		if err != nil {
			t.Fatalf("proxy-%d has no certificate for %s: %v\n%s", i+1, host, err, p.Log())
		}
		if serial := state.PeerCertificates[0].SerialNumber.String(); !seen[serial] {
			seen[serial] = true
			all = append(all, serial)
		}
	}
	return all
}

// A proxy that was alone brings its services and their certificates into a fleet, with the directory that it has had: nothing is
// ordered again.
func TestProxyThatWasAloneBringsServicesAndCertificates(t *testing.T) {
	proxies := newFleet(t)
	ca := startAuthority(t, proxies[:1])
	for _, p := range proxies {
		p.Args = append(p.Args, ca.flags()...)
	}
	one, inFleet := proxies[0], proxies[0].Args
	one.Args = append([]string{"--storage", flagOf(one, "--fleet-dir")}, ca.flags()...)
	must(t, one.Start())
	app := startExample(t, "app")
	const host = "app.example.com"
	if r := run(t, one, "deploy", app.Addr, "--host", host, "--tls"); r.Code != 0 {
		t.Fatalf("%s\n%s", r.Stderr, one.Log())
	}
	before := serials(t, host, one)
	_, err := one.Stop(rigtest.Patience)
	must(t, err)
	one.Args = inFleet
	must(t, one.Start())
	waitFor(t, "its certificate, although the other servers of the fleet are not there", func() bool {
		_, err := handshake(one, &tls.Config{ServerName: host})
		return err == nil
	})
	for _, p := range proxies[1:] {
		must(t, p.Start())
	}
	awaitLive(t, one, 3)
	waitFor(t, "the others to serve it", func() bool {
		for _, p := range proxies[1:] {
			if all, err := p.Services(); err != nil || len(all) != 1 || all[0].Active == nil || all[0].Active.Release != 1 {
				return false
			}
		}
		return true
	})
	if got := serials(t, host, proxies...); len(got) != 1 || got[0] != before[0] || ca.ordersFor(host) != 1 {
		t.Errorf("%v after %v, and %d orders", got, before, ca.ordersFor(host))
	}
}

// Three proxies order each name once, answer each other's challenges, and have their certificates also when they are
// restarted without NATS.
func TestProxiesShareTheirCertificates(t *testing.T) {
	proxies := newFleet(t)
	ca := startAuthority(t, proxies)
	for _, p := range proxies {
		p.Args = append(p.Args, ca.flags()...)
		must(t, p.Start())
	}
	awaitLive(t, proxies[0], 3)
	app := startExample(t, "app")
	for host, challenge := range map[string]string{"http.example.com": "http-01", "tls.example.com": "tls-alpn-01"} {
		ca.mu.Lock()
		ca.challenge = challenge
		ca.mu.Unlock()
		if r := run(t, proxies[0], "deploy", app.Addr, "--host", host, "--tls"); r.Code != 0 {
			t.Fatalf("%s\n%s", r.Stderr, proxies[0].Log())
		}
		if got := serials(t, host, proxies...); len(got) != 1 || ca.ordersFor(host) != 1 {
			t.Errorf("%s has %d certificates, and was ordered %d times", host, len(got), ca.ordersFor(host))
		}
	}

	permits := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer permits.Close()
	if r := run(t, proxies[1], "deploy", app.Addr, "--service", "tenants", "--tls", "--tls-on-demand-url", permits.URL); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	const tenant = "tenant.example.com"
	var all sync.WaitGroup
	for range 3 {
		for i, p := range proxies {
			all.Go(func() {
				if _, err := handshake(p, &tls.Config{ServerName: tenant}); err != nil {
					t.Errorf("proxy-%d: %v", i+1, err)
				}
			})
		}
	}
	all.Wait()
	if got := serials(t, tenant, proxies...); len(got) != 1 || ca.ordersFor(tenant) != 1 {
		t.Errorf("%s has %d certificates, and was ordered %d times", tenant, len(got), ca.ordersFor(tenant))
	}

	before := serials(t, "http.example.com", proxies...)
	for _, p := range proxies {
		p.Kill()
	}
	must(t, proxies[2].Start()) // without a majority
	for _, host := range []string{"http.example.com", "tls.example.com", tenant} {
		waitFor(t, "the certificate of "+host, func() bool {
			_, err := handshake(proxies[2], &tls.Config{ServerName: host})
			return err == nil
		})
		if ca.ordersFor(host) != 1 {
			t.Errorf("%s was ordered again without NATS", host)
		}
	}
	if got := serials(t, "http.example.com", proxies[2]); got[0] != before[0] {
		t.Error("a restart without NATS brings another certificate")
	}
	must(t, filepath.WalkDir(filepath.Join(proxies[2].Dir, "fleet", "storage"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can read %s: %v", path, err)
		}
		return nil
	}))
	for _, p := range proxies[:2] {
		must(t, p.Start())
	}
	awaitLive(t, proxies[0], 3)
	if got := serials(t, tenant, proxies...); len(got) != 1 || ca.ordersFor(tenant) != 1 {
		t.Errorf("after all: %d certificates, %d orders", len(got), ca.ordersFor(tenant))
	}
}

// A proxy that has had certificates by itself brings them along when it becomes one of a fleet.
func TestProxyBringsItsCertificatesToTheFleet(t *testing.T) {
	proxies := newFleet(t)
	ca := startAuthority(t, proxies[:1])
	for _, p := range proxies {
		p.Args = append(p.Args, ca.flags()...)
	}
	const host = "before.example.com"
	asFleet := proxies[0].Args
	proxies[0].Args = append([]string{"--storage="}, ca.flags()...)
	must(t, proxies[0].Start())
	app := startExample(t, "app")
	if r := run(t, proxies[0], "deploy", app.Addr, "--host", host, "--tls"); r.Code != 0 {
		t.Fatalf("%s\n%s", r.Stderr, proxies[0].Log())
	}
	before := serials(t, host, proxies[0])
	_, err := proxies[0].Stop(rigtest.Patience)
	must(t, err)
	proxies[0].Args = asFleet
	for _, p := range proxies {
		must(t, p.Start())
	}
	awaitLive(t, proxies[0], 3)
	waitFor(t, "the proxy to share them", func() bool {
		return strings.Contains(proxies[0].Log(), "the certificates and accounts that this proxy had are shared with its fleet")
	})
	if r := run(t, proxies[0], "deploy", app.Addr, "--host", host, "--tls"); r.Code != 0 {
		t.Fatalf("%s\n%s", r.Stderr, proxies[0].Log())
	}
	if got := serials(t, host, proxies...); len(got) != 1 || got[0] != before[0] || ca.ordersFor(host) != 1 {
		t.Errorf("it had %q and has %q after %d orders", before, got, ca.ordersFor(host))
	}
}
