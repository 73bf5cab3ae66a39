package acme

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oracle says which names may have a certificate, and remembers what it was asked.
type oracle struct {
	*httptest.Server
	// mu guards what follows.
	mu      sync.Mutex
	asked   []string
	answers map[string]http.HandlerFunc
}

// startOracle starts an oracle that denies all names that it has no answer for.
func startOracle(t *testing.T, answers map[string]http.HandlerFunc) *oracle {
	t.Helper()
	o := &oracle{answers: answers}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *oracle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o.mu.Lock()
	o.asked = append(o.asked, q.Get("host"))
	answer := o.answers[q.Get("host")]
	o.mu.Unlock()
	switch {
	case q.Get("domain") != q.Get("host"):
		w.WriteHeader(http.StatusBadRequest)
	case answer == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		answer(w, r)
	}
}

// questions returns how often it was asked for a name.
func (o *oracle) questions(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(o.asked), func(asked string) bool { return asked != name }))
}

func allow(http.ResponseWriter, *http.Request) {}

// A service without hosts, or with a wildcard, has a URL asked at the first handshake
// for a name. Nothing but a plain yes is one.
func TestCertificateOnDemandNeedsAPermission(t *testing.T) {
	t.Parallel()
	for form, flags := range map[string][]string{"no host": {"--service", "shop"}, "wildcard": {"--service", "shop", "--host", "*." + domain}} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			allowed, denied, moved, slow, odd := newHost(), newHost(), newHost(), newHost(), newHost()
			end := make(chan struct{})
			o := startOracle(t, map[string]http.HandlerFunc{
				allowed: allow,
				moved: func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "/?host="+allowed+"&domain="+allowed, http.StatusFound)
				},
				slow: func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-end:
					case <-r.Context().Done():
					}
				},
				odd: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			})
			defer close(end)
			s.deploy(t, append(flags, startApp(t, named("shop")).addr(), "--tls", "--tls-on-demand-url", o.URL+"/may?it=be")...).wantDone(t)
			if n := s.ca.total(); n > 0 {
				t.Errorf("%d orders before the first handshake", n)
			}
			if resp, _ := s.raw(t, "GET", "/x", allowed); resp.Header.Get("Location") != s.https(allowed, "/x") {
				t.Errorf("over HTTP: %s to %q", resp.Status, resp.Header.Get("Location"))
			}
			for range 3 {
				s.wantBody(t, allowed, "shop", s.ca.roots)
				for name, why := range map[string]string{denied: "denied", moved: "redirected", odd: "204"} {
					if _, err := s.handshake(name, nil); err == nil {
						t.Errorf("%s, but the handshake succeeds", why)
					}
				}
			}
			for _, name := range []string{allowed, denied, moved, odd} {
				if n := o.questions(name); n != 1 {
					t.Errorf("%d questions about %s", n, name)
				}
			}
			began := time.Now()
			if _, err := s.handshake(slow, nil); err == nil {
				t.Error("the answer did not come, but the handshake succeeds")
			}
			if took := time.Since(began); took > 4*time.Second || took < time.Second {
				t.Errorf("a slow answer was waited for %s", took)
			}
			if got := s.ca.orders(); len(got) != 1 || got[allowed] != 1 {
				t.Errorf("the orders are %v", got)
			}
		})
	}
}

// A path is asked of the service itself.
func TestCertificateOnDemandIsPermittedByTheServiceItself(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	allowed, denied := newHost(), newHost()
	a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/may" && r.URL.Query().Get("host") != allowed {
			w.WriteHeader(http.StatusForbidden)
		}
		fmt.Fprint(w, "tenant")
	})
	s.deploy(t, a.addr(), "--service", "tenants", "--tls", "--tls-on-demand-url", "/may").wantDone(t)
	s.wantBody(t, allowed, "tenant", s.ca.roots)
	if _, err := s.handshake(denied, nil); err == nil {
		t.Error("denied, but the handshake succeeds")
	}
	if got := s.ca.orders(); len(got) != 1 || got[allowed] != 1 {
		t.Errorf("the orders are %v", got)
	}
}

// Trap 49: who has a certificate keeps it when there is nobody to ask, also after a
// restart.
func TestPermissionIsNotNeededForExistingCertificates(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	known, unknown := newHost(), newHost()
	o := startOracle(t, map[string]http.HandlerFunc{known: allow, unknown: allow})
	s.deploy(t, startApp(t, named("shop")).addr(), "--service", "shop", "--tls", "--tls-on-demand-url", o.URL).wantDone(t)
	s.wantBody(t, known, "shop", s.ca.roots)
	o.Close()
	s.wantBody(t, known, "shop", s.ca.roots)
	s.restart(t)
	s.wantBody(t, known, "shop", s.ca.roots)
	if _, err := s.handshake(unknown, nil); err == nil {
		t.Error("nobody was asked, but there is a certificate for another name")
	}
	s.ca.close()
	s.restart(t)
	s.wantBody(t, known, "shop", s.ca.roots)
}

// An oracle that is unwell has not said no, and names have no case.
func TestFailureToAnswerIsNotRemembered(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	var well atomic.Bool
	o := startOracle(t, map[string]http.HandlerFunc{host: func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}})
	s.deploy(t, startApp(t, named("shop")).addr(), "--service", "shop", "--tls", "--tls-on-demand-url", o.URL).wantDone(t)
	if _, err := s.handshake(host, nil); err == nil {
		t.Error("an error is no permission, but the handshake succeeds")
	}
	well.Store(true)
	for _, name := range []string{strings.ToUpper(host), host} {
		if _, err := s.handshake(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.wantBody(t, host, "shop", s.ca.roots)
	if n := o.questions(host); n != 2 {
		t.Errorf("%d questions", n)
	}
	if got := s.ca.orders(); len(got) != 1 || got[host] != 1 {
		t.Errorf("the orders are %v", got)
	}
}

// A name that the authority refuses is not ordered again by every client that comes.
func TestRefusedNameOnDemandIsNotOrderedForEveryClient(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	s.ca.refuse(func(string) *problem { return rateLimited })
	s.deploy(t, startApp(t, named("shop")).addr(), "--service", "shop", "--tls", "--tls-on-demand-url", "/may").wantDone(t)
	for range 10 {
		if _, err := s.handshake(host, nil); err == nil {
			t.Error("there is no certificate, but the handshake succeeds")
		}
	}
	if n := s.ca.ordersFor(host); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// Nor by those that came while the order was under way. certmagic sees to that, and would
// have to be helped if it did no more.
func TestOrderOnDemandThatFailsIsOneForAllWhoWait(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	const clients = 20
	var waiting atomic.Int64
	s.ca.refuse(func(string) *problem {
		for deadline := time.Now().Add(patience); waiting.Load() < clients && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond) // as an order takes its time
		return rateLimited
	})
	s.deploy(t, startApp(t, named("shop")).addr(), "--service", "shop", "--tls", "--tls-on-demand-url", "/may").wantDone(t)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			waiting.Add(1)
			if _, err := s.handshake(host, nil); err == nil {
				t.Error("there is no certificate, but the handshake succeeds")
			}
		})
	}
	all.Wait()
	if n := s.ca.ordersFor(host); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// Hosts that are known beforehand need no permission, so asking for one is a mistake.
func TestPermissionForKnownHostsIsRefused(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	addr := startApp(t, named("app")).addr()
	for name, args := range map[string][]string{
		"known hosts": {"--host", newHost(), "--tls", "--tls-on-demand-url", "https://ask.test/"},
		"no URL":      {"--service", "shop", "--tls", "--tls-on-demand-url", "ask.test"},
		"another URL": {"--service", "shop", "--tls", "--tls-on-demand-url", "file:///etc/passwd"},
	} {
		if d := s.deploy(t, append(args, addr)...); d.Code != 2 || strings.TrimSpace(d.Stderr) == "" {
			t.Errorf("%s: %d %s", name, d.Code, d.Stderr)
		}
	}
}
