package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// BenchmarkTLSHosts measures how long it takes to deploy one more host with TLS, and to
// shake hands with any of them, as their number grows. Certificates come from the
// proxy's own authority.
//
// The CPU time of the proxy is what counts: it does not depend on what else the machine
// does.
//
//	go test -run '^$' -bench TLSHosts -benchtime 1000x -timeout 20m ./integration
func BenchmarkTLSHosts(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := startProxy(b)
			// Of targets that are not healthy, the proxy would ask ten thousand a second.
			a := startApp(b, "a", nil)
			deployTLSHosts(b, p, a, 0, n)
			next := n
			b.Run("deploy", func(b *testing.B) {
				measure(b, p, func() {
					deployTLSHosts(b, p, a, next, 1)
					next++
				})
			})
			b.Run("handshake", func(b *testing.B) {
				roots := internalRoots(b, p)
				measure(b, p, func() {
					conn, err := tls.Dial("tcp", p.HTTPSAddr(),
						&tls.Config{RootCAs: roots, ServerName: tlsHost(rand.IntN(n))})
					if err != nil {
						b.Fatal(err)
					}
					conn.Close()
				})
			})
		})
	}
}

func tlsHost(i int) string { return fmt.Sprintf("h%d.test", i) }

// deployTLSHosts deploys n hosts, each as a service of its own.
func deployTLSHosts(b *testing.B, p *rig.Proxy, a *app, from, n int) {
	b.Helper()
	hosts := make(chan string)
	var deployers sync.WaitGroup
	for range 8 {
		deployers.Go(func() {
			for host := range hosts {
				_, err := p.Deploy(context.Background(), api.DeployRequest{
					Targets: []string{a.addr()}, Hosts: []string{host},
					TLS: &api.TLSRequest{Issuer: api.IssuerInternal},
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range n {
		hosts <- tlsHost(from + i)
	}
	close(hosts)
	deployers.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// internalRoots returns what the proxy's own authority is trusted by.
func internalRoots(t testing.TB, p *rig.Proxy) *x509.CertPool {
	t.Helper()
	roots, err := p.InternalRoots()
	must(t, err)
	return roots
}

// measure runs f as often as the benchmark wants and reports the median of the times
// that it took, and the CPU time of the proxy.
func measure(b *testing.B, p *rig.Proxy, f func()) {
	var took []time.Duration
	before := cpuTime(b, p)
	for b.Loop() {
		begun := time.Now()
		f()
		took = append(took, time.Since(begun))
	}
	used := cpuTime(b, p) - before
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(used.Seconds()*1000/float64(len(took)), "cpu-ms/op")
	b.ReportMetric(0, "ns/op")
}

// cpuTime returns the CPU time that the proxy has used, or 0 where the system does not
// tell (proc(5)).
func cpuTime(b *testing.B, p *rig.Proxy) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may have spaces in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	const tick = time.Second / 100 // USER_HZ
	return time.Duration(user+system) * tick
}

// A deploy of a host with --tls serves HTTPS on every protocol when it returns, a
// handshake without a name is answered, and nobody else has a certificate (traps 48
// and 51).
func TestHTTPSWorksWhenTheDeployReturns(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	r := run(t, p, "deploy", a.addr(), "--host", "App.Localhost", "--tls=internal")
	if r.Code != 0 {
		t.Fatalf("deploy: %+v", r)
	}
	roots := internalRoots(t, p)
	for _, protocol := range protocols {
		resp, body := ask(t, tlsClient(t, p, protocol, roots, "app.localhost"), "https://app.localhost/")
		if resp.Proto != protocol || body != "a" {
			t.Errorf("%s: %s %q", protocol, resp.Proto, body)
		}
		if protocol != "HTTP/3.0" && resp.Header.Get("Alt-Svc") == "" {
			t.Errorf("%s: HTTP/3 is not offered", protocol)
		}
	}
	dialTLS := func(name string) (*tls.Conn, error) {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
		conn, err := d.Dial("tcp", p.HTTPSAddr())
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.(*tls.Conn), nil
	}
	conn, err := dialTLS("127.0.0.1") // an address is never sent as a name
	if err != nil {
		t.Errorf("without a name: %v", err)
	} else if names := conn.ConnectionState().PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != "app.localhost" {
		t.Errorf("without a name, the certificate is for %v", names)
	}
	for i := range 100 {
		if _, err := dialTLS(fmt.Sprintf("n%d.localhost", i)); err == nil {
			t.Fatalf("a name that was not deployed has a certificate")
		}
	}
	req, err := http.NewRequest(http.MethodGet, p.URL()+"/x?y", nil)
	must(t, err)
	req.Host = "app.localhost"
	resp, err := http.DefaultTransport.RoundTrip(req)
	must(t, err)
	resp.Body.Close()
	if got, want := resp.Header.Get("Location"), "https://app.localhost/x?y"; got != want || resp.StatusCode != http.StatusMovedPermanently {
		t.Errorf("HTTP is answered with %d to %q, want %q", resp.StatusCode, got, want)
	}
}
