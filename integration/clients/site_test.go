package clients

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
	"github.com/parachute-proxy/parachute/internal/api"
)

// site is a service of one test, with a host of its own.
type site struct {
	*server
	host string
}

var sites atomic.Int64

// newSite deploys the first release of a new service.
func newSite(t *testing.T, s *server, targets ...string) *site {
	t.Helper()
	return newSiteWith(t, s, api.DeployRequest{Targets: targets})
}

func newSiteWith(t *testing.T, s *server, req api.DeployRequest) *site {
	t.Helper()
	x := &site{server: s, host: fmt.Sprintf("site%d.%s", sites.Add(1), domain)}
	t.Cleanup(func() {
		if t.Failed() {
			x.showLog(t)
		}
		// Its health checks would go on, to whoever gets the ports of its targets next.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = x.Remove(ctx, x.host) // unless the test has, or has stopped the proxy
	})
	x.deploy(t, req)
	return x
}

// deploy deploys another release and returns how that went.
func (x *site) deploy(t *testing.T, req api.DeployRequest) api.DeploymentStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	req.Hosts = []string{x.host}
	status, err := x.Deploy(ctx, req)
	must(t, err)
	return status
}

func (x *site) deployTo(t *testing.T, targets ...string) api.DeploymentStatus {
	t.Helper()
	return x.deploy(t, api.DeployRequest{Targets: targets})
}

// status returns what the proxy says of the service.
func (x *site) status(t *testing.T) api.ServiceStatus {
	t.Helper()
	all, err := x.Services()
	must(t, err)
	for _, s := range all {
		if s.Name == x.host {
			return s
		}
	}
	t.Fatalf("%s is not deployed", x.host)
	panic("unreachable")
}

// wantUnharmed checks that no target has been blamed and that nothing is in flight.
func (x *site) wantUnharmed(t *testing.T) {
	t.Helper()
	waitFor(t, "the requests to end", func() bool { return x.status(t).Active.Requests == 0 })
	for _, target := range x.status(t).Active.Targets {
		if target.Health == api.HealthFailing {
			t.Errorf("target %s is %s: %s", target.Address, target.Health, target.Reason)
		}
	}
}

// logLines returns the log's lines about the site.
func (x *site) logLines() []string {
	var lines []string
	for line := range strings.Lines(x.Log()) {
		if strings.Contains(line, x.host) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (x *site) showLog(t *testing.T) {
	lines := x.logLines()
	t.Logf("the proxy's log about %s:\n%s", x.host, strings.Join(lines[max(0, len(lines)-10):], ""))
}

// app is a web application inside the test.
type app struct {
	*httptest.Server
	// requests counts what it was sent, health checks not included.
	requests atomic.Int64
	port     keptPort
}

// startApp starts an application over HTTP/1.1 that does what handler does. The
// health check is answered for it.
func startApp(t *testing.T, handler http.HandlerFunc) *app {
	t.Helper()
	a := newApp(handler)
	a.Start()
	t.Cleanup(a.port.release)
	t.Cleanup(a.stop)
	return a
}

// startH2CApp is startApp over HTTP/2 without TLS.
func startH2CApp(t *testing.T, handler http.HandlerFunc) *app {
	t.Helper()
	a := newApp(handler)
	a.Config.Protocols = new(http.Protocols)
	a.Config.Protocols.SetUnencryptedHTTP2(true)
	a.Start()
	t.Cleanup(a.port.release)
	t.Cleanup(a.stop)
	return a
}

// appCertificate returns a certificate for localhost, which all proxies of these tests
// trust.
var appCertificate = sync.OnceValues(func() (*selfsigned.Certificate, error) { return selfsigned.New("localhost") })

// startTLSApp is startApp over TLS, with HTTP/2 or without. It returns the target too.
func startTLSApp(t *testing.T, http2 bool, handler http.HandlerFunc) (a *app, target string) {
	t.Helper()
	cert, err := appCertificate()
	must(t, err)
	pair, err := cert.TLS()
	must(t, err)
	a = newApp(handler)
	a.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	a.EnableHTTP2 = http2
	a.StartTLS()
	t.Cleanup(a.port.release)
	t.Cleanup(a.stop)
	_, port, err := net.SplitHostPort(a.addr())
	must(t, err)
	return a, "https://localhost:" + port
}

// startTarget starts an application and tells how the proxy reaches it.
type startTarget func(t *testing.T, handler http.HandlerFunc) (a *app, target string)

// eachKindOfTarget runs a test with an application behind everything that may be
// between it and the proxy.
func eachKindOfTarget(t *testing.T, test func(t *testing.T, start startTarget)) {
	t.Helper()
	for kind, start := range map[string]startTarget{
		"http": func(t *testing.T, handler http.HandlerFunc) (*app, string) {
			a := startApp(t, handler)
			return a, a.addr()
		},
		"h2c": func(t *testing.T, handler http.HandlerFunc) (*app, string) {
			a := startH2CApp(t, handler)
			return a, "h2c://" + a.addr()
		},
		"https":         func(t *testing.T, handler http.HandlerFunc) (*app, string) { return startTLSApp(t, false, handler) },
		"https, HTTP/2": func(t *testing.T, handler http.HandlerFunc) (*app, string) { return startTLSApp(t, true, handler) },
	} {
		t.Run(kind, func(t *testing.T) { test(t, start) })
	}
}

func newApp(handler http.HandlerFunc) *app {
	a := new(app)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// PRI is how a health check over HTTP/2 begins, of a site whose target had the
		// port before.
		if r.URL.Path == "/up" || r.Method == "PRI" {
			return
		}
		a.requests.Add(1)
		handler(w, r)
	}))
	return a
}

// stop stops the app. Another test does not get its port.
func (a *app) stop() {
	a.CloseClientConnections()
	a.Close()
	a.port.keep(a.Listener.Addr())
}

func (a *app) addr() string { return a.Listener.Addr().String() }

// named answers its name, after it has read the body.
func named(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, name)
	}
}
