package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
	"github.com/parachute-proxy/parachute/internal/api"
)

// startTLSProxy returns a proxy with a certificate for the given names, which it
// has from a config file of the user's, and a function that makes clients.
func startTLSProxy(t *testing.T, names ...string) (*rig.Proxy, func(protocol, serverName string) *http.Client) {
	t.Helper()
	p := newProxy(t)
	certificate, err := selfsigned.New(names...)
	must(t, err)
	certificateFile, keyFile := filepath.Join(p.Dir, "cert.pem"), filepath.Join(p.Dir, "key.pem")
	must(t, certificate.Write(certificateFile, keyFile))
	config, err := json.Marshal(rig.CertificateConfig(certificateFile, keyFile))
	must(t, err)
	file := filepath.Join(p.Dir, "config.json")
	must(t, os.WriteFile(file, config, 0o600))
	p.Args = append(p.Args, "--config", file, "--grace-period", "100ms")
	must(t, p.Start())

	return p, func(protocol, serverName string) *http.Client {
		return tlsClient(t, p, protocol, certificate.Roots(), serverName)
	}
}

// tlsClient returns a client that speaks one protocol and asks for one server name.
// It follows no redirect.
func tlsClient(t *testing.T, p *rig.Proxy, protocol string, roots *x509.CertPool, serverName string) *http.Client {
	addr := p.HTTPSAddr()
	tlsConfig := &tls.Config{RootCAs: roots, ServerName: serverName}
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if protocol == "HTTP/3.0" {
		tr := &http3.Transport{
			TLSClientConfig: tlsConfig,
			Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
				return quic.DialAddrEarly(ctx, addr, c, q)
			},
		}
		t.Cleanup(func() { tr.Close() })
		client.Transport = tr
		return client
	}
	tr := &http.Transport{
		TLSClientConfig: tlsConfig,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
		Protocols: new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(protocol == "HTTP/1.1")
	tr.Protocols.SetHTTP2(protocol == "HTTP/2.0")
	t.Cleanup(tr.CloseIdleConnections)
	client.Transport = tr
	return client
}

var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

// One table of services serves every protocol, and a connection of any of them
// follows the switch.
func TestEveryProtocolFollowsTheSwitch(t *testing.T) {
	p, client := startTLSProxy(t, "app.test")
	apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
	deploy(t, p, requestFor("app.test", apps[0]))
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			c := client(protocol, "app.test")
			for i := range 6 {
				deploy(t, p, requestFor("app.test", apps[i%2]))
				for range 5 {
					resp, body := ask(t, c, "https://app.test/")
					if body != apps[i%2].name || resp.Proto != protocol {
						t.Fatalf("deploy %d: %s %q over %s", i, resp.Status, body, resp.Proto)
					}
				}
			}
		})
	}
}

// A reload ends no stream, whatever its protocol and however short the grace
// period, which is for the end of the process.
func TestReloadEndsNoEventStream(t *testing.T) {
	example := startExample(t, "web")
	p, client := startTLSProxy(t, "app.test")
	deploy(t, p, api.DeployRequest{Hosts: []string{"app.test"}, Targets: []string{example.Addr}})
	streams := make(map[string]*bufio.Reader)
	for _, protocol := range protocols {
		c := client(protocol, "app.test")
		c.Timeout = 0
		resp, err := c.Get("https://app.test/sse?every=50ms")
		must(t, err)
		defer resp.Body.Close()
		if resp.Proto != protocol {
			t.Fatalf("%s instead of %s", resp.Proto, protocol)
		}
		streams[protocol] = bufio.NewReader(resp.Body)
	}
	// Two of the streams' lines make an event; the grace period, 100ms, is over
	// long before the last is read.
	for range 2 {
		must(t, p.ReloadConfig(patience))
		for protocol, stream := range streams {
			for range 30 {
				if _, err := stream.ReadString('\n'); err != nil {
					t.Fatalf("%s: %v", protocol, err)
				}
			}
		}
	}
}

// Trap 68.
func TestConnectionOfOneSiteDoesNotServeAnother(t *testing.T) {
	p, client := startTLSProxy(t, "one.test", "two.test", "alias.test")
	one := startApp(t, "one", nil)
	deploy(t, p, api.DeployRequest{Service: "one", Targets: []string{one.addr()}, Hosts: []string{"one.test", "alias.test"}})
	deploy(t, p, requestFor("two.test", startApp(t, "two", nil)))
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			c := client(protocol, "one.test")
			for host, want := range map[string]string{"one.test": "200 one", "alias.test": "200 one", "two.test": "421 "} {
				resp, body := ask(t, c, "https://"+host+"/")
				if got := fmt.Sprint(resp.StatusCode, " ", body); !strings.HasPrefix(got, want) {
					t.Errorf("%s on a connection for one.test: %s", host, got)
				}
			}
		})
	}
}

func ask(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	return askFor(t, c, req)
}

func askFor(t *testing.T, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

// A service that has a path of a host is served by HTTPS, and redirected to it, as the service
// that has the root of the host, for as long as there is one.
func TestPathServicesHaveTheHTTPSOfTheirHost(t *testing.T) {
	p := startProxy(t)
	api, root := startApp(t, "api", nil), startApp(t, "root", nil)
	for _, args := range [][]string{
		{"deploy", api.addr(), "--service", "api", "--host", "app.localhost", "--path-prefix", "/api"},
		{"deploy", root.addr(), "--service", "root", "--host", "app.localhost", "--tls=internal"},
	} {
		if r := run(t, p, args...); r.Code != 0 {
			t.Fatalf("%q: %+v", args, r)
		}
	}
	roots := internalRoots(t, p)
	for _, protocol := range protocols {
		resp, body := ask(t, tlsClient(t, p, protocol, roots, "app.localhost"), "https://app.localhost/api/x")
		if resp.Proto != protocol || body != "api" {
			t.Errorf("%s: %s %s %q", protocol, resp.Proto, resp.Status, body)
		}
	}
	want := "https://app.localhost//../api/x?y"
	req, err := http.NewRequest(http.MethodGet, p.URL()+"//../api/x?y", nil)
	must(t, err)
	req.Host = "app.localhost"
	resp, err := http.DefaultTransport.RoundTrip(req)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMovedPermanently || resp.Header.Get("Location") != want {
		t.Errorf("plain HTTP gets %s to %q, want %q", resp.Status, resp.Header.Get("Location"), want)
	}
	if r := run(t, p, "status", "api"); !strings.Contains(r.Stdout, "app.localhost: as service root, which has the root of the host; HTTP is redirected to HTTPS") {
		t.Errorf("status tells:\n%s", r.Stdout)
	}
	if r := run(t, p, "list", "--wide"); !strings.Contains(r.Stdout, "as root") {
		t.Errorf("list tells:\n%s", r.Stdout)
	}
	must(t, p.Remove(t.Context(), "root"))
	if resp, body := get(t, p, "app.localhost", "/api/x"); body != "api" {
		t.Errorf("without the root, plain HTTP gets %s to %q", resp.Status, resp.Header.Get("Location"))
	}
}
