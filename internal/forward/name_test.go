package forward

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// nameServer is a name server that knows one name.
type nameServer struct {
	conn net.PacketConn
	// mu guards what follows.
	mu sync.Mutex
	// address is what the name stands for; invalid if it does not exist.
	address netip.Addr
	// code, if not 0, is what it says instead. silent says that it says nothing.
	code   dnsmessage.RCode
	silent bool
}

func startNameServer(t testing.TB) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &nameServer{conn: conn}
	go s.serve()
	return s
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := s.reply(buf[:n]); answer != nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

func (s *nameServer) reply(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent {
		return nil
	}
	m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, s.code, nil
	q := m.Questions[0]
	switch {
	case s.code != 0:
	case !s.address.IsValid() || !strings.HasPrefix(q.Name.String(), "app.test."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: s.address.As4()},
		}}
	}
	answer, _ := m.Pack()
	return answer
}

// answer has the name stand for address, or not exist if that is "".
func (s *nameServer) answer(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address, _ = netip.ParseAddr(address)
	s.code, s.silent = 0, false
}

// breakDown has it answer with code, or not at all if that is 0.
func (s *nameServer) breakDown(code dnsmessage.RCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.silent = code, code == 0
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

// target returns the target with the name instead of the address.
func (s *nameServer) target(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return "app.test:" + port
}

// TestTargetIsFoundWhileTheResolverIsDown at its last good address, which is told once;
// and nowhere once its name is gone.
func TestTargetIsFoundWhileTheResolverIsDown(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]dnsmessage.RCode{"silent": 0, "failing": dnsmessage.RCodeServerFailure, "refusing": dnsmessage.RCodeRefused} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := testkit.StartApp(t, "app")
			names := startNameServer(t)
			names.answer("127.0.0.1")
			told := make(chan error, 100)
			f := newTestForwarder(func(o *Options) {
				o.Resolver = names.resolver()
				o.LookupFailing = func(_ *Release, target api.Target, last netip.Addr, err error) {
					if err != nil && last.String() != "127.0.0.1" {
						t.Errorf("%s is looked for at %s", target, last)
					}
					told <- err
				}
			})
			r, _ := serveWith(t, f, nil, names.target(app.Target))
			u := r.upstreams[0]
			dial := func() error {
				conn, err := u.dialer().dial(t.Context())
				if err == nil {
					_ = conn.Close()
				}
				return err
			}
			if err := dial(); err != nil {
				t.Fatal(err)
			}
			names.breakDown(code)
			begin := time.Now()
			for range 3 {
				if err := dial(); err != nil {
					t.Errorf("while the resolver is down: %v", err)
				}
			}
			if took := time.Since(begin); took > lookupTimeout+redialAfter+2*time.Second {
				t.Errorf("three dials take %s", took)
			}
			if result := u.prober().probe(t.Context()); !result.ok() {
				t.Errorf("while the resolver is down, a probe says %+v", result)
			}
			if err := testkit.Receive(t, told, "the news of the outage"); !isLookupOutage(err) {
				t.Errorf("told %v", err)
			}
			names.answer("127.0.0.1")
			if result := u.prober().probe(t.Context()); !result.ok() {
				t.Errorf("when the resolver is back: %+v", result)
			}
			if err := testkit.Receive(t, told, "the news of its end"); err != nil {
				t.Errorf("told %v, want that it is over", err)
			}
			names.answer("")
			want := "host name app.test does not resolve"
			if err := dial(); err == nil || DialReason(err) != want {
				t.Errorf("when the name is gone: %v", err)
			}
			names.breakDown(dnsmessage.RCodeServerFailure)
			if err := dial(); err == nil {
				t.Error("an address is used whose name did not exist any more")
			}
			if len(told) > 0 {
				t.Errorf("told %v as well", <-told)
			}
		})
	}
}

// TestTargetIsNotLookedForWhereItWas once its name has another address.
func TestTargetIsNotLookedForWhereItWas(t *testing.T) {
	t.Parallel()
	app := testkit.StartApp(t, "app")
	names := startNameServer(t)
	names.answer("127.0.0.1")
	f := newTestForwarder(func(o *Options) { o.Resolver = names.resolver() })
	r, _ := serveWith(t, f, nil, names.target(app.Target))
	conn, err := r.upstreams[0].dialer().dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	names.answer("127.0.0.99") // where nothing listens
	if conn, err := r.upstreams[0].dialer().dial(t.Context()); err == nil {
		_ = conn.Close()
		t.Error("it is looked for at its old address")
	}
	names.breakDown(dnsmessage.RCodeServerFailure)
	if conn, err := r.upstreams[0].dialer().dial(t.Context()); err == nil {
		_ = conn.Close()
		t.Error("it is looked for at its old address when the resolver is down")
	}
}

// TestFailureToLookUpIsToldOnce though the resolver's errors have a port in them that is
// another every time.
func TestFailureToLookUpIsToldOnce(t *testing.T) {
	t.Parallel()
	gone := startNameServer(t)
	_ = gone.conn.Close()
	f := newTestForwarder(func(o *Options) { o.Resolver = gone.resolver() })
	r, _ := serveWith(t, f, nil, "app.test:80")
	for range 5 {
		const want = "looking up app.test failed: connection refused"
		if result := r.upstreams[0].prober().probe(t.Context()); result.reason != want || !result.unreachable {
			t.Errorf("%+v, want %q", result, want)
		}
	}
	silent := startNameServer(t)
	silent.breakDown(0)
	f = newTestForwarder(func(o *Options) { o.Resolver = silent.resolver() })
	r, _ = serveWith(t, f, func(req *api.DeployRequest) { req.HealthCheckTimeout = testkit.Milliseconds(300) }, "app.test:80")
	const want = "looking up app.test timed out"
	if result := r.upstreams[0].prober().probe(t.Context()); result.reason != want {
		t.Errorf("%+v, want %q", result, want)
	}
}
