package acme

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// load sends requests until it is stopped.
type load struct {
	stop             chan struct{}
	users            sync.WaitGroup
	requests, failed atomic.Int64
	// mu guards errors.
	mu     sync.Mutex
	errors []string
}

func newLoad() *load { return &load{stop: make(chan struct{})} }

// user makes one request after the other.
func (l *load) user(request func() error) {
	l.users.Go(func() {
		for {
			select {
			case <-l.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			err := request()
			l.requests.Add(1)
			if err == nil {
				continue
			}
			l.failed.Add(1)
			l.mu.Lock()
			if len(l.errors) < 5 {
				l.errors = append(l.errors, err.Error())
			}
			l.mu.Unlock()
		}
	})
}

// end waits for the users and checks that no request has failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.users.Wait()
	t.Logf("%d requests", l.requests.Load())
	if l.failed.Load() > 0 || l.requests.Load() == 0 {
		t.Errorf("%d of %d requests failed, such as:\n%s", l.failed.Load(), l.requests.Load(), strings.Join(l.errors, "\n"))
	}
}

// fetch returns a request for a user of a load, which any of the bodies answers.
func fetch(c *http.Client, url string, bodies ...string) func() error {
	return func() error {
		a, err := ask(c, http.MethodGet, url)
		if err != nil {
			return err
		}
		for _, body := range bodies {
			if a.StatusCode == http.StatusOK && a.body == body {
				return nil
			}
		}
		return fmt.Errorf("%s", a)
	}
}

// fresh has a client make a connection for each request.
func fresh(c *http.Client, request func() error) func() error {
	return func() error {
		c.CloseIdleConnections()
		return request()
	}
}

// A certificate is renewed long before it expires, and no client notices.
func TestCertificateIsRenewedUnderLoad(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(s *server) { s.options.lifetime = 18 * time.Second })
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls").wantDone(t)
	first := s.leaf(t, host)
	l := newLoad()
	for _, protocol := range protocols {
		kept, renewed := s.client(t, protocol, s.ca.roots), s.client(t, protocol, s.ca.roots)
		l.user(fetch(kept, "https://"+host+"/", "app"))
		if protocol != h3 { // whose client cannot close what is idle
			l.user(fresh(renewed, fetch(renewed, "https://"+host+"/", "app")))
		}
	}
	waitFor(t, "another certificate", func() bool { return !s.leaf(t, host).Equal(first) })
	if time.Now().After(first.NotAfter) {
		t.Error("the first certificate had expired by then")
	}
	second := s.leaf(t, host)
	waitFor(t, "list to tell of it", func() bool {
		x := s.status(t, host)
		return len(x.Certificates) == 1 && x.Certificates[0].NotAfter.Equal(second.NotAfter) && x.Certificates[0].Error == ""
	})
	l.end(t)
	if x := s.status(t, host); x.Active.Release != 1 {
		t.Errorf("release %d serves", x.Active.Release)
	}
	if n := s.ca.ordersFor(host); n < 2 || n > 4 {
		t.Errorf("%d orders", n)
	}
}

// A renewal that fails is shown, and the old certificate goes on being served.
func TestFailedRenewalIsShown(t *testing.T) {
	t.Parallel()
	port, err := rig.FreePort()
	must(t, err)
	s := startServer(t, nil, "--metrics-port", fmt.Sprint(port))
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--service", "web", "--host", host, "--tls").wantDone(t)
	leaf := s.leaf(t, host)
	expiry := func() string {
		return metric(t, port, "parachute_certificate_expiry_timestamp_seconds", `service="web"`, `host="`+host+`"`)
	}
	failing := func() string {
		return metric(t, port, "parachute_certificate_failing", `service="web"`, `host="`+host+`"`)
	}
	want := fmt.Sprintf("%g", float64(leaf.NotAfter.Unix()))
	if got := expiry(); got != want {
		t.Errorf("the metric says %s, want %s", got, want)
	}
	if got := failing(); got != "0" {
		t.Errorf("before anything fails, the metric says %q", got)
	}
	s.ca.refuse(func(string) *problem { return rateLimited })
	s.ca.renew(leaf)
	waitFor(t, "the failure in status", func() bool {
		result, err := s.Run("status", "web", "--output", "json")
		must(t, err)
		return strings.Contains(result.Stdout, "retry after 2030-01-01")
	})
	if x := s.status(t, "web"); len(x.Certificates) != 1 || !strings.Contains(x.Certificates[0].Error, "retry after 2030-01-01") || !x.Certificates[0].NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("list says %+v", x)
	}
	for _, command := range [][]string{{"status", "web"}, {"list"}} {
		result, err := s.Run(command...)
		must(t, err)
		if result.Code != 0 || !strings.Contains(result.Stdout+result.Stderr, "not being renewed") {
			t.Errorf("%q says nothing of it: %s%s", command, result.Stdout, result.Stderr)
		}
	}
	if got := expiry(); got != want || failing() != "1" {
		t.Errorf("the metrics say %s, want %s, and failing %q", got, want, failing())
	}
	s.wantBody(t, host, "app", s.ca.roots)
	if !s.leaf(t, host).Equal(leaf) {
		t.Error("another certificate is served")
	}
	s.reload(t)
	if got := expiry(); got != want {
		t.Errorf("after a reload, the metric says %s, want %s", got, want)
	}
	r, err := s.Run("remove", "web")
	must(t, err)
	if got := expiry(); r.Code != 0 || got != "" {
		t.Errorf("after the removal, the metric says %s", got)
	}
}

// metric returns the value of the series that has all the given labels, or nothing.
func metric(t *testing.T, port int, name string, labels ...string) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	must(t, err)
	defer resp.Body.Close()
lines:
	for scanner := bufio.NewScanner(resp.Body); scanner.Scan(); {
		series, value, _ := strings.Cut(scanner.Text(), "} ")
		if !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue lines
			}
		}
		return value
	}
	return ""
}
