package acme

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Names come in any case (RFC 6066, section 3).
func TestServerNameHasNoCase(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", strings.ToUpper(host), "--tls=internal").wantDone(t)
	for _, name := range []string{host, strings.ToUpper(host), "S" + host[1:]} {
		if err := s.leaf(t, name).VerifyHostname(host); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Trap 51: who sends no name, or none that may be sent, is answered with one of the
// certificates. Who sends one that nobody has is refused.
func TestHandshakeWithoutAServerName(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls=internal").wantDone(t)
	for _, name := range []string{"", "127.0.0.1", "::1"} { // Go sends no addresses
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if _, err := s.handshake(name, &tls.Config{MaxVersion: version}); err != nil {
				t.Errorf("%q with %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
	for _, name := range []string{"unknown." + domain, "www." + host, "test"} {
		if state, err := s.handshake(name, nil); err == nil {
			t.Errorf("%q is answered with a certificate for %q", name, state.PeerCertificates[0].DNSNames)
		}
	}
}

// A host may be an address, which clients send no name for: the one that they come to
// says which certificate they want (RFC 8738).
func TestAddressHasACertificate(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	first := "a." + newHost() // the one that those are answered with who say nothing
	s.deploy(t, startApp(t, named("first")).addr(), "--host", first, "--tls=internal").wantDone(t)
	for _, c := range []struct {
		flag  string
		roots func() *x509.CertPool
	}{
		{"--tls=internal", func() *x509.CertPool { return s.internalRoots(t) }},
		{"--tls", func() *x509.CertPool { return s.ca.roots }},
	} {
		s.deploy(t, startApp(t, named(c.flag)).addr(), "--service", "address", "--host", "127.0.0.1", c.flag).wantDone(t)
		for _, protocol := range protocols {
			a, err := ask(s.client(t, protocol, c.roots()), http.MethodGet, "https://127.0.0.1/")
			must(t, err)
			if a.body != c.flag {
				t.Errorf("%s", a)
			}
		}
	}
	if resp, _ := s.raw(t, "GET", "/x?q", "127.0.0.1"); resp.Header.Get("Location") != s.https("127.0.0.1", "/x?q") {
		t.Errorf("over HTTP: %s to %q", resp.Status, resp.Header.Get("Location"))
	}
	s.wantBody(t, first, "first", s.internalRoots(t))
}

// A proxy without any service with TLS has nothing to answer a handshake with, and
// comes to no harm by it.
func TestHandshakeWithoutAnyCertificate(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	for _, name := range []string{"", "app." + domain} {
		if _, err := s.handshake(name, nil); err == nil {
			t.Errorf("%q is answered", name)
		}
	}
	if n := s.ca.total(); n > 0 {
		t.Errorf("%d orders", n)
	}
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls=internal").wantDone(t)
	s.wantBody(t, host, "app", s.internalRoots(t))
}

// A wildcard has one certificate for all names below it, but for those that are
// deployed by themselves.
func TestWildcardHostIsServed(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	parent := newHost()
	s.deploy(t, startApp(t, named("all")).addr(), "--host", "*."+parent, "--tls=internal").wantDone(t)
	s.deploy(t, startApp(t, named("one")).addr(), "--host", "one."+parent, "--tls=internal").wantDone(t)
	s.wantBody(t, "a."+parent, "all", s.internalRoots(t))
	s.wantBody(t, "b."+parent, "all", s.internalRoots(t))
	s.wantBody(t, "one."+parent, "one", s.internalRoots(t))
	if names := s.leaf(t, "a."+parent).DNSNames; !slices.Equal(names, []string{"*." + parent}) {
		t.Errorf("the certificate is for %q", names)
	}
	for _, name := range []string{parent, "a.b." + parent} {
		if _, err := s.handshake(name, nil); err == nil {
			t.Errorf("a handshake for %s succeeds", name)
		}
	}
}

// Every host has a certificate of its own, and every protocol is served with it. The
// answers say that there is HTTP/3.
func TestEveryProtocolIsServedForEveryHost(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	args := []string{startApp(t, named("app")).addr(), "--tls=internal"}
	var all []string
	for range 5 {
		host := newHost()
		all = append(all, host)
		args = append(args, "--host", host)
	}
	s.deploy(t, args...).wantDone(t)
	eachProtocol(t, func(t *testing.T, protocol string) {
		c := s.client(t, protocol, s.internalRoots(t))
		for _, host := range all {
			a, err := ask(c, http.MethodGet, "https://"+host+"/")
			must(t, err)
			if a.StatusCode != http.StatusOK || a.body != "app" || a.ProtoMajor != int(protocol[1]-'0') {
				t.Errorf("%s: %s", host, a)
			}
			if want := fmt.Sprintf(`h3=":%d"`, s.HTTPSPort); protocol != h3 && !strings.Contains(a.Header.Get("Alt-Svc"), want) {
				t.Errorf("Alt-Svc is %q, want %s", a.Header.Get("Alt-Svc"), want)
			}
		}
	})
}

// A client that comes back need not begin anew.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls=internal").wantDone(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := s.client(t, h1, nil)
		c.Transport = s.transport(t, h1, &tls.Config{RootCAs: s.internalRoots(t), MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(10)})
		for i, resumed := range []bool{false, true, true} {
			a, err := ask(c, http.MethodGet, "https://"+host+"/")
			must(t, err)
			if a.TLS.DidResume != resumed || a.TLS.Version != version {
				t.Errorf("connection %d: %s, resumed: %t", i+1, tls.VersionName(a.TLS.Version), a.TLS.DidResume)
			}
			c.CloseIdleConnections()
		}
	}
}

// TLS 1.2 is served unless --min-tls says otherwise, and nothing older ever is.
func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	t.Parallel()
	for flag, oldest := range map[string]uint16{"": tls.VersionTLS12, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		s := common.Get(t)
		if flag != "" {
			s = startServer(t, nil, "--min-tls", flag)
		}
		host := newHost()
		s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls=internal").wantDone(t)
		for version := uint16(tls.VersionTLS10); version <= tls.VersionTLS13; version++ {
			_, err := s.handshake(host, &tls.Config{MinVersion: version, MaxVersion: version})
			if (err == nil) != (version >= oldest) {
				t.Errorf("--min-tls %q, %s: %v", flag, tls.VersionName(version), err)
			}
		}
	}
}

// Trap 51: a deploy without TLS takes the certificate away from new connections, and
// from nothing and nobody else.
func TestTLSIsTurnedOffWhileConnectionsLive(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	eachProtocol(t, func(t *testing.T, protocol string) {
		host, other := newHost(), newHost()
		s.deploy(t, startApp(t, named("v1")).addr(), "--host", host, "--tls=internal").wantDone(t)
		s.deploy(t, startApp(t, named("other")).addr(), "--host", other, "--tls=internal").wantDone(t)
		c := s.client(t, protocol, s.internalRoots(t))
		a, err := ask(c, http.MethodGet, "https://"+host+"/")
		must(t, err)
		if a.body != "v1" {
			t.Fatalf("%s", a)
		}
		s.deploy(t, startApp(t, named("v2")).addr(), "--host", host, "--tls=false").wantDone(t)
		for range 3 {
			a, err := ask(c, http.MethodGet, "https://"+host+"/")
			must(t, err)
			if a.StatusCode != http.StatusOK || a.body != "v2" {
				t.Errorf("on the connection that was open: %s", a)
			}
		}
		if _, err := s.handshake(host, nil); err == nil {
			t.Error("a new handshake succeeds")
		}
		if resp, body := s.raw(t, "GET", "/", host); body != "v2" {
			t.Errorf("over HTTP: %s to %q", resp.Status, resp.Header.Get("Location"))
		}
		s.wantBody(t, other, "other", s.internalRoots(t))
		if _, err := s.handshake("", nil); err != nil {
			t.Errorf("without a name: %v", err)
		}
		s.deploy(t, startApp(t, named("v3")).addr(), "--host", host, "--tls=internal").wantDone(t)
		s.wantBody(t, host, "v3", s.internalRoots(t))
	})
}
