package clients

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Caddy's read_header_timeout and idle_timeout in these tests. Their defaults are one
// minute and five.
const (
	headerTimeout = time.Second
	idleTimeout   = 3 * time.Second
)

// withHeaderTimeout gives the proxy servers of the user's, which differ in these.
func withHeaderTimeout(s *server) {
	site := func(port int) object {
		return object{
			"listen": []any{fmt.Sprintf("127.0.0.1:%d", port)}, "automatic_https": object{"disable": true},
			"read_header_timeout": headerTimeout.String(), "idle_timeout": idleTimeout.String(),
		}
	}
	apps := s.config["apps"].(object)
	apps["http"] = object{"servers": object{"slow_http": site(s.HTTPPort), "slow_https": site(s.HTTPSPort)}}
}

// Trap 35: who dribbles a head, or a handshake, does not keep the connection.
func TestDribbledHeadIsCutOff(t *testing.T) {
	t.Parallel()
	const pace, bound = 100 * time.Millisecond, idleTimeout + 5*time.Second
	s := startServer(t, withHeaderTimeout)
	x := newSite(t, s, startApp(t, named("app")).addr())
	for name, dial := range map[string]func(t *testing.T) (io.Reader, func(i int) error){
		"h1": func(t *testing.T) (io.Reader, func(int) error) {
			w := x.dialH1(t, h1)
			w.write("GET / HTTP/1.1\r\nHost: " + x.host + "\r\nX-Dribble: ")
			return w.in, func(int) error { _, err := io.WriteString(w.Conn, "x"); return err }
		},
		"h1-tls": func(t *testing.T) (io.Reader, func(int) error) {
			w := x.dialH1(t, h1TLS)
			w.write("GET / HTTP/1.1\r\nHost: " + x.host + "\r\nX-Dribble: ")
			return w.in, func(int) error { _, err := io.WriteString(w.Conn, "x"); return err }
		},
		"second request": func(t *testing.T) (io.Reader, func(int) error) {
			w := x.dialH1(t, h1)
			w.begin("GET", "/", false)
			if got := w.answer(); got.body != "app" {
				t.Fatalf("%s", got)
			}
			w.write("GET / HTTP/1.1\r\nX-Dribble: ")
			return w.in, func(int) error { _, err := io.WriteString(w.Conn, "x"); return err }
		},
		"handshake": func(t *testing.T) (io.Reader, func(int) error) {
			conn, err := net.Dial("tcp", x.HTTPSAddr())
			must(t, err)
			t.Cleanup(func() { conn.Close() })
			must(t, conn.SetDeadline(time.Now().Add(patience)))
			hello := clientHello(t, x)
			return conn, func(i int) error { _, err := conn.Write(hello[i : i+1]); return err }
		},
		// Go's HTTP/2 server has no header timeout: a connection on which no request
		// has come to its end is idle to it.
		"h2": func(t *testing.T) (io.Reader, func(int) error) {
			w := x.dialH2(t)
			block := w.encode([]field{{":method", "GET"}, {":scheme", "https"}, {":authority", x.host}, {":path", "/"}})
			must(t, w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true}))
			return w.conn, func(i int) error {
				return w.WriteContinuation(1, false, w.encode([]field{{"x-dribble", fmt.Sprint(i)}}))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, dribble := dial(t)
			begin, closed := time.Now(), make(chan struct{})
			go func() {
				defer close(closed)
				_, _ = io.Copy(io.Discard, in)
			}()
			pacer := time.NewTicker(pace)
			defer pacer.Stop()
			for i := 0; ; i++ {
				select {
				case <-closed:
					t.Logf("cut off after %s", time.Since(begin))
					return
				case <-pacer.C:
				}
				if time.Since(begin) > bound {
					t.Fatalf("still open after %s", time.Since(begin))
				}
				_ = dribble(i)
			}
		})
	}
}

// clientHello returns the first bytes that a TLS client sends.
func clientHello(t *testing.T, x *site) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() { _ = tls.Client(ours, x.tlsConfig("http/1.1")).HandshakeContext(t.Context()) }()
	defer theirs.Close()
	must(t, theirs.SetReadDeadline(time.Now().Add(patience)))
	hello := make([]byte, 4096)
	n, err := theirs.Read(hello)
	must(t, err)
	return hello[:n]
}

// Trap 35, the other half: a slow upload is no attack for as long as it gets on, and
// a slow answer no more.
func TestSlowUploadThatMakesProgressIsNotCut(t *testing.T) {
	t.Parallel()
	s := startServer(t, withHeaderTimeout)
	eachProtocol(t, func(t *testing.T, protocol string) {
		uploadSlowly(t, newSite(t, s, startBodyApp(t).addr()), protocol, 3*headerTimeout)
	})
}

// uploadSlowly takes a certain time for an upload, in small steps.
func uploadSlowly(t *testing.T, x *site, protocol string, takes time.Duration) {
	t.Helper()
	const pieces = 20
	w := x.dialWire(t, protocol)
	w.begin("POST", "/", true, field{"Content-Length", fmt.Sprint(pieces)})
	pacer := time.NewTicker(takes / pieces)
	defer pacer.Stop()
	for range pieces {
		<-pacer.C
		w.send("x")
	}
	w.end()
	if got := w.answer(); got.status != http.StatusOK || got.body != fmt.Sprint(pieces) {
		t.Errorf("an upload that took %s: %s", takes, got)
	}
}

// startImpatient starts a proxy with a client timeout.
func startImpatient(t *testing.T, timeout time.Duration) *server {
	t.Helper()
	help, err := plain.Get(t).Run("run", "--help")
	must(t, err)
	if !strings.Contains(help.Stdout, "--client-timeout") {
		t.Fatal("run has no --client-timeout yet")
	}
	return startServer(t, nil, "--client-timeout", timeout.String(), "--access-log")
}

// Trap 67: how long a client may stall is up to the operator, and only that counts,
// not how long it takes.
func TestClientTimeoutIsForStallsOnly(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	s := startImpatient(t, timeout)
	eachProtocol(t, func(t *testing.T, protocol string) {
		t.Run("progress", func(t *testing.T) {
			t.Parallel()
			uploadSlowly(t, newSite(t, s, startBodyApp(t).addr()), protocol, 4*timeout)
		})
		t.Run("stalled upload", func(t *testing.T) {
			t.Parallel()
			a := startBodyApp(t)
			x := newSite(t, s, a.addr())
			w := x.dialWire(t, protocol)
			w.begin("POST", "/", true, field{"Content-Length", "100"})
			w.send("hello")
			begin := time.Now()
			got := w.answer()
			if took := time.Since(begin); got.status != http.StatusRequestTimeout || took < timeout/2 || took > timeout+5*time.Second {
				t.Errorf("%s after %s", got, took)
			}
			a.wantBlameless(t, x, 1)
		})
		t.Run("silent app", func(t *testing.T) {
			t.Parallel()
			// The client has sent everything: it is not the one that stalls.
			goOn := make(chan struct{})
			time.AfterFunc(3*timeout, func() { close(goOn) })
			a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-goOn
				_, _ = io.WriteString(w, "at last")
			})
			if got := newSite(t, s, a.addr()).askWire(t, protocol, "POST", "/", "body"); got.body != "at last" {
				t.Errorf("%s", got)
			}
		})
		t.Run("stalled reader", func(t *testing.T) {
			t.Parallel()
			left, part := make(chan error, 1), pattern(1<<20)
			a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
				for {
					if _, err := w.Write(part); err != nil {
						left <- err
						return
					}
				}
			})
			c := newSite(t, s, a.addr()).client(t, protocol)
			resp, err := c.Do(c.request(t, http.MethodGet, "/", nil))
			must(t, err)
			defer resp.Body.Close()
			begin := time.Now()
			arrive(t, "the app to be rid of a client that reads nothing", left)
			if took := time.Since(begin); took > timeout+10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	})
}
