package integration

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// startCluster starts three NATS servers as users have them, with JetStream, TLS, a user and a password.
func startCluster(t *testing.T, keyPair tls.Certificate) (servers []*natsserver.Server, addrs []string) {
	addrs = freeServers(t)
	var routes []*url.URL
	for _, addr := range addrs {
		routes = append(routes, &url.URL{Scheme: "nats", Host: clusterAddress(t, addr)})
	}
	for i, addr := range addrs {
		_, port, _ := strings.Cut(addr, ":")
		_, clusterPort, _ := strings.Cut(routes[i].Host, ":")
		o := &natsserver.Options{
			ServerName: fmt.Sprintf("nats-%d", i+1), Host: "127.0.0.1", NoSigs: true, NoLog: true, Username: "u", Password: "p@ss/word",
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, Routes: routes,
			TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{keyPair}, MinVersion: tls.VersionTLS12},
			Cluster: natsserver.ClusterOpts{Name: "users", Host: "127.0.0.1"},
		}
		_, err := fmt.Sscan(port+" "+clusterPort, &o.Port, &o.Cluster.Port)
		must(t, err)
		s, err := natsserver.NewServer(o)
		must(t, err)
		go s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(rigtest.Patience) {
			t.Fatal("a server does not start")
		}
	}
	waitFor(t, "the servers to have a leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return true
			}
		}
		return false
	})
	return servers, addrs
}

// clusterAddress returns where other servers reach one of those of freeServers.
func clusterAddress(t *testing.T, addr string) string {
	host, text, _ := strings.Cut(addr, ":")
	port := 0
	_, err := fmt.Sscan(text, &port)
	must(t, err)
	return fmt.Sprintf("%s:%d", host, port+2000)
}

// A fleet meets in a NATS cluster of the user's by tls://, with a user and a password, and goes on when one of its servers
// is gone. It believes no server that the system does not, and says no password to anybody.
func TestFleetMeetsInAClusterOfTheUsers(t *testing.T) {
	cert, err := selfsigned.New("127.0.0.1")
	must(t, err)
	keyPair, err := cert.TLS()
	must(t, err)
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(trusted, cert.PEM, 0o600))
	servers, addrs := startCluster(t, keyPair)
	program, err := os.Executable()
	must(t, err)
	newProxy := func(name, scheme, user, roots string) *rig.Proxy {
		p := rigtest.NewProxy(t)
		p.Program, p.Env = program, []string{"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=" + t.TempDir()}
		p.Args = []string{
			"--storage=", "--fleet", scheme + "://" + user + "@" + strings.Join(addrs, ",") + "/shop",
			"--fleet-name", name, "--fleet-dir", filepath.Join(p.Dir, "fleet"), "--ping-path", "/ping",
		}
		must(t, p.Start())
		return p
	}
	one, other := newProxy("proxy-1", "tls", "u:p%40ss%2Fword", trusted), newProxy("proxy-2", "tls", "u:p%40ss%2Fword", trusted)
	awaitLive(t, one, 2)
	app, next := startExample(t, "app"), startExample(t, "next")
	if r := run(t, one, "deploy", app.Addr, "--service", "web"); r.Code != 0 || !strings.Contains(r.Stderr, "proxy-2 drained") {
		t.Fatal(r.Stderr)
	}
	for i, s := range servers {
		if s.JetStreamIsLeader() {
			servers[i].Shutdown()
			servers[i].WaitForShutdown()
			break
		}
	}
	waitFor(t, "a deploy without one of the servers", func() bool { return run(t, other, "deploy", next.Addr, "--service", "web").Code == 0 })
	for i, p := range []*rig.Proxy{one, other} {
		waitFor(t, "the proxies to serve it", func() bool { return serves(p, next.Addr) })
		if strings.Contains(p.Log(), "p@ss") || strings.Contains(p.Log(), "p%40ss") {
			t.Errorf("proxy-%d has logged the password", i+1)
		}
	}
	for want, p := range map[string]*rig.Proxy{
		"certificate":   newProxy("untrusting", "tls", "u:p%40ss%2Fword", filepath.Join(t.TempDir(), "none")),
		"Authorization": newProxy("forgetful", "tls", "u:wrong-one", trusted),
	} {
		waitFor(t, "it to say what is wrong: "+want, func() bool {
			return strings.Contains(strings.ToLower(status(p).Problem), strings.ToLower(want))
		})
		if said := status(p).Problem + p.Log(); strings.Contains(said, "wrong-one") || strings.Contains(said, "p%40ss") {
			t.Errorf("it has told the password: %s", said)
		}
		if r := run(t, p, "deploy", app.Addr, "--service", "web"); r.Code != 6 || !strings.Contains(r.Stderr, "nothing has changed") {
			t.Errorf("%d %s", r.Code, r.Stderr)
		}
	}
	if n := status(one).Live(); n != 2 {
		t.Errorf("%d proxies are live", n)
	}
}
