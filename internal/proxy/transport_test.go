package proxy

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// nameServer is a DNS server for a few names, whatever domain is added to them.
type nameServer struct {
	mu    sync.Mutex
	names map[string]netip.Addr
}

// set changes the answer for names that begin with label.
func (s *nameServer) set(label, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[label] = netip.MustParseAddr(address)
}

// startNameServer starts a server and returns it with a resolver that asks it.
func startNameServer(t testing.TB) (*nameServer, *net.Resolver) {
	t.Helper()
	s := &nameServer{names: make(map[string]netip.Addr)}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		query := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if answer, err := s.answer(query[:n]); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	var dialer net.Dialer
	return s, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (s *nameServer) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	label, _, _ := strings.Cut(q.Name.String(), ".")
	s.mu.Lock()
	addr, ok := s.names[label]
	s.mu.Unlock()
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
	} else if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	return m.Pack()
}

func withResolver(r *net.Resolver) func(*EngineOptions) {
	return func(o *EngineOptions) { o.Resolver = r }
}

// TestNewConnectionsGoToTheNewAddress of a container that was made anew under the
// same name.
func TestNewConnectionsGoToTheNewAddress(t *testing.T) {
	t.Parallel()
	dns, resolver := startNameServer(t)
	dns.set("a", "127.0.0.1") // a name of one letter is one like any other
	e := newTestEngine(t, withResolver(resolver))
	first := testkit.StartApp(t, "first")
	_, port, _ := net.SplitHostPort(first.Target)
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skip("there is no second loopback address here: ", err)
	}
	second := testkit.NewApp("second").Start(t, l)
	e.deploy(api.DeployRequest{Service: "app", Targets: []string{"a:" + port}})
	e.wantAnswer("h", "/", "first")
	dns.set("a", "127.0.0.2")
	first.Kill() // and with it the connection that is idle
	e.wantAnswer("h", "/", "second")
	if second.Served.Load() != 1 {
		t.Errorf("the second served %d requests, want 1", second.Served.Load())
	}
}

func TestNameThatDoesNotResolveIsToldAsSuch(t *testing.T) {
	t.Parallel()
	_, resolver := startNameServer(t)
	e := newTestEngine(t, withResolver(resolver))
	_, err := wait(t, e.start(api.DeployRequest{Service: "app", Targets: []string{"nobody:80"}, DeployTimeout: testkit.Milliseconds(300)}))
	wantCode(t, err, api.CodeNotHealthy)
	if reason := api.AsError(err).Details[0].Failures[0].Reason; reason != "host name nobody does not resolve" {
		t.Errorf("reason %q", reason)
	}
	if hint := api.AsError(err).Hint; !strings.Contains(hint, "same network") {
		t.Errorf("hint %q", hint)
	}
}

// TestEnvironmentProxyIsIgnored runs itself with a proxy in the environment,
// which net/http reads only once.
func TestEnvironmentProxyIsIgnored(t *testing.T) {
	if target := os.Getenv("PARACHUTE_TEST_TARGET"); target != "" {
		req, _ := http.NewRequest(http.MethodGet, "http://"+target, nil)
		if proxy, err := http.ProxyFromEnvironment(req); proxy == nil || err != nil {
			t.Fatalf("the trap is not set: %v, %v", proxy, err)
		}
		dns, resolver := startNameServer(t)
		dns.set("app", "127.0.0.1")
		e := newTestEngine(t, withResolver(resolver))
		e.deploy(api.DeployRequest{Service: "app", Targets: []string{target}})
		e.wantAnswer("h", "/", "direct")
		return
	}
	t.Parallel()
	trap := testkit.Listen(t, "tcp", "127.0.0.1:0")
	var trapped atomic.Int64
	go func() {
		for {
			conn, err := trap.Accept()
			if err != nil {
				return
			}
			trapped.Add(1)
			_ = conn.Close()
		}
	}()
	a := testkit.StartApp(t, "direct")
	_, port, _ := net.SplitHostPort(a.Target)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "-test.run=^TestEnvironmentProxyIsIgnored$")
	cmd.Env = append(os.Environ(), "PARACHUTE_TEST_TARGET=app.test:"+port)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		cmd.Env = append(cmd.Env, name+"=http://"+trap.Addr().String(), strings.ToLower(name)+"=http://"+trap.Addr().String())
	}
	cmd.Env = append(cmd.Env, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := trapped.Load(); n > 0 {
		t.Errorf("the proxy of the environment was asked %d times", n)
	}
	if a.Probes.Load() == 0 || a.Served.Load() == 0 {
		t.Errorf("%d probes and %d requests, want both", a.Probes.Load(), a.Served.Load())
	}
}
