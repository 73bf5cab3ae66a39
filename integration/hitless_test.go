package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// Hosts of the sites of a secured proxy.
const plainHost, secureHost = "plain.test", "secure.test"

// secured is a reloadable proxy that has a site with TLS as well, and a service on both.
type secured struct {
	*reloadable
	target rig.RawTarget
	site   string
}

// secure adds a site with TLS to the config of a proxy, and deploys a service.
func secure(t *testing.T, p *reloadable, a *app) *secured {
	t.Helper()
	certificate, err := selfsigned.New(secureHost)
	must(t, err)
	certificateFile, keyFile := filepath.Join(p.Dir, "cert.pem"), filepath.Join(p.Dir, "key.pem")
	must(t, certificate.Write(certificateFile, keyFile))
	s := &secured{reloadable: p, target: rig.RawTarget{
		Plain: p.Addr(), Secure: p.HTTPSAddr(), PlainHost: plainHost, SecureHost: secureHost, Path: "/",
		TLS: &tls.Config{RootCAs: certificate.Roots(), ServerName: secureHost},
	}}
	s.site = fmt.Sprintf("tls %s %s\n\tparachute", certificateFile, keyFile)
	deploy(t, p.Proxy, to(a))
	s.reload("")
	return s
}

// reload loads the next generation, with more sites in it.
func (s *secured) reload(more string) {
	s.t.Helper()
	s.write(more)
	must(s.t, s.try())
}

func (s *secured) write(more string) {
	s.t.Helper()
	s.reloadable.write(fmt.Sprintf("https://%s {\n\trespond /generation %d\n\t%s\n}\n%s", secureHost, s.generation+1, s.site, more))
}

// expectNothingLost ends a load and wants every request to have got its answer.
func expectNothingLost(t *testing.T, load *rig.RawLoad) {
	t.Helper()
	if rejected := expectRejectedAtMost(t, load); rejected > 0 {
		t.Errorf("%d requests were rejected", rejected)
	}
}

// expectRejectedAtMost ends a load and wants every request to have got its answer, or to have been
// rejected in the way that clients over HTTP/3 may repeat. It returns how many were.
func expectRejectedAtMost(t *testing.T, load *rig.RawLoad) (rejected int) {
	t.Helper()
	outcomes := load.Stop()
	text, answered, lost := rig.DescribeRaw(outcomes)
	for class, o := range outcomes {
		rejected += o.Rejected
		if len(o.Lost) > 0 || o.Refused > 0 || o.Answered == 0 {
			t.Errorf("%s: %d answered, %d lost, %d refused", class, o.Answered, len(o.Lost), o.Refused)
		}
	}
	t.Logf("%d of %d requests lost, %d rejected\n%s", lost, answered+lost+rejected, rejected, text)
	return rejected
}

// Connections belong to the process and not to a config. What a plain Caddy loses is only
// shown. It takes 20 reloads, or PARACHUTE_SOAK, such as 1m.
func TestReloadsLoseNothing(t *testing.T) {
	duration := soakTime(t, 0)
	eachWayToReload(t, func(t *testing.T, p *reloadable) {
		s := secure(t, p, startApp(t, "a", nil))
		load := rig.StartRawLoad(s.target, 2)
		reloads := 0
		for begin := time.Now(); reloads < 20 || time.Since(begin) < duration; reloads++ {
			before := load.Answered()
			s.reload("")
			sleepUntil(t.Context(), 100*time.Millisecond)
			waitFor(t, "a request of each class", func() bool { return load.Answered() > before })
		}
		t.Logf("%d reloads", reloads)
		if !p.hitless() {
			text, answered, lost := rig.DescribeRaw(load.Stop())
			t.Logf("%d of %d requests lost\n%s", lost, answered+lost, text)
			return
		}
		expectNothingLost(t, load)
	})
}

// A config that is refused never gets a request, and those that come meanwhile are answered by
// the one that goes on.
func TestRefusedReloadLosesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	eachHitlessWayToReload(t, func(t *testing.T, p *reloadable) {
		s := secure(t, p, startApp(t, "a", nil))
		load := rig.StartRawLoad(s.target, 2)
		for range 4 {
			for what, sites := range map[string]string{
				"an impossible service": "http://broken.example.com {\n\tparachute ../x\n}",
				"a port that is taken":  fmt.Sprintf("http://:%d {\n\trespond x\n}", taken.Addr().(*net.TCPAddr).Port),
			} {
				before := load.Answered()
				s.write(sites)
				s.generation--
				if s.try() == nil {
					t.Fatalf("a config with %s was loaded", what)
				}
				if got := generationOver(t, dial(t, p.Proxy), plainHost); got != fmt.Sprint(s.generation) {
					t.Errorf("after %s, %s is the config instead of %d", what, got, s.generation)
				}
				waitFor(t, "a request of each class", func() bool { return load.Answered() > before })
			}
		}
		expectNothingLost(t, load)
	})
}

// generationOver asks which config it is, by a connection that stays open.
func generationOver(t *testing.T, conn net.Conn, host string) string {
	t.Helper()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err := fmt.Fprintf(conn, "GET /generation HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.Close {
		t.Errorf("the connection ends with config %s", body)
	}
	return string(body)
}

// Connections that were opened before a reload are answered by the config after it.
func TestOpenConnectionsGoOnWithTheNewestConfig(t *testing.T) {
	eachHitlessWayToReload(t, func(t *testing.T, p *reloadable) {
		s := secure(t, p, startApp(t, "a", nil))
		plain := dial(t, p.Proxy)
		config := s.target.TLS.Clone()
		config.NextProtos = []string{"http/1.1"}
		over, err := tls.Dial("tcp", p.HTTPSAddr(), config)
		must(t, err)
		defer over.Close()
		dials := 0
		h2 := tlsClient(t, p.Proxy, "HTTP/2.0", s.target.TLS.RootCAs, secureHost)
		tr := h2.Transport.(*http.Transport)
		below := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return below(ctx, network, addr)
		}
		for range 5 {
			want := fmt.Sprint(s.generation)
			if got := generationOver(t, plain, plainHost); got != want {
				t.Errorf("over HTTP/1.1, %s is the config instead of %s", got, want)
			}
			if got := generationOver(t, over, secureHost); got != want {
				t.Errorf("over HTTP/1.1 and TLS, %s is the config instead of %s", got, want)
			}
			if _, got := ask(t, h2, "https://"+secureHost+"/generation"); got != want {
				t.Errorf("over HTTP/2, %s is the config instead of %s", got, want)
			}
			s.reload("")
		}
		if dials != 1 {
			t.Errorf("the client has made %d connections for HTTP/2", dials)
		}
	})
}

// QUIC is Caddy's, which ends connections with a reload. Clients make others, and those find
// the newest config.
func TestHTTP3GoesOnAfterReloads(t *testing.T) {
	eachHitlessWayToReload(t, func(t *testing.T, p *reloadable) {
		s := secure(t, p, startApp(t, "a", nil))
		client := tlsClient(t, p.Proxy, "HTTP/3.0", s.target.TLS.RootCAs, secureHost)
		for range 5 {
			waitFor(t, "the newest config over HTTP/3", func() bool {
				resp, err := client.Get("https://" + secureHost + "/generation")
				if err != nil {
					return false
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				return err == nil && resp.ProtoMajor == 3 && string(body) == fmt.Sprint(s.generation)
			})
			s.reload("")
		}
	})
}

// A port that a config has given up is nobody's any more, and the next config can have it.
func TestPortThatAConfigGivesUpIsClosed(t *testing.T) {
	eachHitlessWayToReload(t, func(t *testing.T, p *reloadable) {
		port, err := rig.FreePort()
		must(t, err)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		for range 3 {
			p.write(fmt.Sprintf("http://:%d {\n\trespond here\n}", port))
			must(t, p.try())
			if _, body := getURL(t, "http://"+address); body != "here" {
				t.Errorf("the port answers %q", body)
			}
			p.reload()
			waitFor(t, "the port to be closed", func() bool {
				conn, err := net.Dial("tcp", address)
				if err == nil {
					conn.Close()
				}
				return err != nil
			})
		}
	})
}

// What belongs to the process has to know when a config is gone.
func TestReloadsLeaveNothingBehind(t *testing.T) {
	eachHitlessWayToReload(t, func(t *testing.T, p *reloadable) {
		s := secure(t, p, startApp(t, "a", nil))
		conn := dial(t, p.Proxy)
		some := func() {
			for range 25 {
				s.reload("")
				generationOver(t, conn, plainHost)
			}
			settle(t, p.Proxy)
		}
		some()
		before := takeInventory(t, p.Proxy)
		some()
		var after inventory
		waitFor(t, "what a reload leaves to go", func() bool {
			after = takeInventory(t, p.Proxy)
			return after.within(before)
		})
		t.Logf("before: %+v, after: %+v", before, after)
	})
}

// An event stream is not touched by a reload either. For WebSockets and uploads see
// TestStreamsAndUploadsOutliveOtherDeploysAndReloads.
func TestEventStreamOutlivesReloads(t *testing.T) {
	eachHitlessWayToReload(t, func(t *testing.T, p *reloadable) {
		example := startExample(t, "web")
		if r := run(t, p.Proxy, "deploy", example.Addr); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		events, err := http.Get(p.URL() + "/sse?every=20ms")
		must(t, err)
		defer events.Body.Close()
		lines := bufio.NewReader(events.Body)
		for range 5 {
			p.reload()
			for range 4 {
				if _, err := lines.ReadString('\n'); err != nil {
					t.Fatalf("the stream ends: %v", err)
				}
			}
		}
	})
}

// Caddy redirects visitors of sites with TLS by a server of its own making, if there is none on
// the port for HTTP.
func TestSitesWithTLSAreRedirectedTo(t *testing.T) {
	for name, own := range map[string]bool{"by our server on the port": false, "by one of Caddy's": true} {
		t.Run(name, func(t *testing.T) {
			p := &reloadable{Proxy: newProxy(t), t: t}
			file := filepath.Join(p.Dir, "sites.Caddyfile")
			p.Args = []string{"--config", file}
			port := p.HTTPPort
			if own {
				p.HTTPPort = 0 // serves none
			}
			for i := range 3 {
				must(t, os.WriteFile(file, fmt.Appendf(nil, "{\n\tdefault_bind 127.0.0.1\n\thttp_port %d\n}\n%s {\n\ttls internal\n\trespond %d\n}\n",
					port, secureHost, i), 0o600))
				if i == 0 {
					must(t, p.Start())
				} else {
					must(t, p.ReloadConfig(patience))
				}
				var location string
				waitFor(t, "a redirect", func() bool {
					req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
					must(t, err)
					req.Host = secureHost
					resp, err := http.DefaultTransport.RoundTrip(req)
					if err != nil {
						return false
					}
					resp.Body.Close()
					location = resp.Header.Get("Location")
					return true
				})
				if !strings.HasPrefix(location, "https://"+secureHost) {
					t.Errorf("the redirect is to %q", location)
				}
				client := tlsClient(t, p.Proxy, "HTTP/1.1", internalRoots(t, p.Proxy), secureHost)
				waitFor(t, "the certificate", func() bool {
					resp, err := client.Get("https://" + secureHost + "/")
					if err == nil {
						resp.Body.Close()
					}
					return err == nil
				})
				if _, got := ask(t, client, "https://"+secureHost+"/"); got != fmt.Sprint(i) {
					t.Errorf("%s is the config instead of %d", got, i)
				}
			}
		})
	}
}

// A site may be for one address of those that the proxy listens on, and come and go.
func TestSiteMayHaveOneOfTheProxysAddresses(t *testing.T) {
	p := newProxy(t)
	file := filepath.Join(p.Dir, "sites.Caddyfile")
	p.Args = []string{"--config", file, "--bind", "0.0.0.0"}
	a := startApp(t, "a", nil)
	for i, site := range []bool{false, true, true, false, true} {
		sites := ""
		want := "a"
		if site {
			sites, want = "http://site.test {\n\tbind 127.0.0.1\n\trespond site\n}\n", "site"
		}
		must(t, os.WriteFile(file, fmt.Appendf(nil, "{\n\thttp_port %d\n}\n%s", p.HTTPPort, sites), 0o600))
		if i == 0 {
			must(t, p.Start())
			deploy(t, p, requestFor("site.test", a))
			_ = run(t, p, "remove", "default")
		} else {
			must(t, p.ReloadConfig(patience))
		}
		waitFor(t, "the site to come or go", func() bool {
			// By a connection of its own: one that is open stays with whom it was made to.
			conn := dial(t, p)
			defer conn.Close()
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
			must(t, err)
			answer, err := io.ReadAll(conn)
			must(t, err)
			return strings.HasSuffix(string(answer), "\r\n\r\n"+want)
		})
	}
}

// Who uses one connection for many calls of the API notices a reload as little as a visitor
// does. `parachute list --watch` is one of them.
func TestReloadsLoseNoCallOfTheAPI(t *testing.T) {
	eachHitlessWayToReload(t, func(t *testing.T, p *reloadable) {
		socket := strings.TrimPrefix(p.Admin(), "unix/")
		info, err := os.Stat(socket)
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var calls, dials atomic.Int64
		var callers sync.WaitGroup
		failed := make(chan error, 4)
		for range cap(failed) {
			callers.Go(func() {
				conn, err := net.Dial("unix", socket)
				if err != nil {
					failed <- err
					return
				}
				defer conn.Close()
				dials.Add(1)
				reader := bufio.NewReader(conn)
				for ctx.Err() == nil {
					if err := callOnce(conn, reader); err != nil {
						failed <- err
						return
					}
					calls.Add(1)
				}
			})
		}
		for range 10 {
			before := calls.Load()
			p.write("")
			must(t, p.try())
			waitFor(t, "calls", func() bool { return calls.Load() > before+20 || len(failed) > 0 })
		}
		stop()
		callers.Wait()
		t.Logf("%d calls on %d connections", calls.Load(), dials.Load())
		if len(failed) > 0 {
			t.Error(<-failed)
		}
		if after, err := os.Stat(socket); err != nil || after.Mode() != info.Mode() {
			t.Errorf("the socket had %s and has %v (%v)", info.Mode(), after, err)
		}
	})
}

// callOnce makes a call of the API on a connection that stays open.
func callOnce(conn net.Conn, reader *bufio.Reader) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET /parachute/services HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || resp.Close {
		return fmt.Errorf("%s, the last one: %t", resp.Status, resp.Close)
	}
	return nil
}
