package clients

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/parachute-proxy/parachute/internal/api"
)

// newH2Site deploys an application that has no health check.
func newH2Site(t *testing.T, addr string) *site {
	t.Helper()
	return newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{"h2c://" + addr}, Force: true})
}

// refusals are the ways in which a target can end the second request of a connection,
// and whether they say that it has not processed it (RFC 9113, sections 6.8 and 8.7).
var refusals = map[string]struct {
	end         func(c *rawH2Conn, stream uint32)
	unprocessed bool
}{
	"going away":     {func(c *rawH2Conn, stream uint32) { _ = c.WriteGoAway(stream-2, http2.ErrCodeNo, nil) }, true},
	"refused":        {func(c *rawH2Conn, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeRefusedStream) }, true},
	"internal error": {func(c *rawH2Conn, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeInternal) }, false},
	"cancelled":      {func(c *rawH2Conn, stream uint32) { _ = c.WriteRSTStream(stream, http2.ErrCodeCancel) }, false},
	"connection":     {func(c *rawH2Conn, _ uint32) { c.Close() }, false},
}

// Traps 19 and 20: a request that the target says it has not processed is sent again,
// with a body or without, and one that it may have processed is not.
func TestRequestIsSentAgainOnlyIfTheTargetHasNotProcessedIt(t *testing.T) {
	t.Parallel()
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				var seen atomic.Int64
				a := startRawH2App(t, func(c *rawH2Conn, f http2.Frame) bool {
					// The whole request has come, as a target would have it that processes it.
					data, ok := f.(*http2.DataFrame)
					if !ok || !data.StreamEnded() {
						return true
					}
					if n := seen.Add(1); n == 2 {
						refusal.end(c, data.StreamID)
						return true
					}
					c.answer(data.StreamID, field{":status", "200"})
					return true
				})
				c := newH2Site(t, a.addr).client(t, protocol)
				for i := range 3 {
					got, err := c.ask(c.request(t, http.MethodPost, "/", strings.NewReader("hello")))
					want := http.StatusOK
					if i == 1 && !refusal.unprocessed {
						want = http.StatusBadGateway
					}
					if err != nil || got.StatusCode != want {
						t.Errorf("request %d: %s, want %d", i+1, describe(got, err), want)
					}
				}
				if n, want := seen.Load(), map[bool]int64{true: 4, false: 3}[refusal.unprocessed]; n != want {
					t.Errorf("the target was sent %d requests, want %d", n, want)
				}
			})
		})
	}
}

// What a target takes at a time is known only when its settings have come. Until then
// requests may be too many for it, and are refused.
func TestBurstThatTheTargetRefusesIsServed(t *testing.T) {
	t.Parallel()
	app := newApp(named("fine"))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 10}
	app.Start()
	t.Cleanup(app.stop)
	c := newH2Site(t, app.addr()).client(t, h1)
	var users sync.WaitGroup
	for range 60 {
		users.Go(func() {
			got, err := c.ask(c.request(t, http.MethodPost, "/", strings.NewReader("hello")))
			if err != nil || got.body != "fine" {
				t.Errorf("%s", describe(got, err))
			}
		})
	}
	users.Wait()
}

// A connection may end in the moment in which a request is written to it.
func TestGetOnAnHTTP2ConnectionThatDiesIsRepeated(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startRawH2App(t, func(c *rawH2Conn, f http2.Frame) bool {
			headers, ok := f.(*http2.HeadersFrame)
			if !ok {
				return true
			}
			if c.requests == 2 {
				return false
			}
			c.answer(headers.StreamID, field{":status", "204"})
			return true
		})
		c := newH2Site(t, a.addr).client(t, protocol)
		for i := range 3 {
			if got := c.get(t, "/"); got.StatusCode != http.StatusNoContent {
				t.Errorf("GET %d: %s %q", i+1, got.Status, got.body)
			}
		}
		if n := a.conns.Load(); n < 2 {
			t.Errorf("the target saw %d connections", n)
		}
	})
}

// A 304 may tell the length of what it does not send (RFC 9110, section 8.6).
func TestNotModifiedWithALengthArrivesFromHTTP2(t *testing.T) {
	t.Parallel()
	a := startRawH2App(t, func(c *rawH2Conn, f http2.Frame) bool {
		if headers, ok := f.(*http2.HeadersFrame); ok {
			c.answer(headers.StreamID, field{":status", "304"}, field{"etag", `"a"`}, field{"content-length", "5"})
		}
		return true
	})
	x := newH2Site(t, a.addr)
	eachProtocol(t, func(t *testing.T, protocol string) {
		if got := x.askWire(t, protocol, "GET", "/", ""); got.err != nil || got.status != http.StatusNotModified || got.header.Get("Etag") != `"a"` {
			t.Errorf("%s", got)
		}
	})
}

// Upgrade means nothing over HTTP/2. A request that asks for one gets an answer.
func TestUpgradeIsNotAskedOfHTTP2(t *testing.T) {
	t.Parallel()
	x := newSite(t, plain.Get(t), "h2c://"+startH2CApp(t, named("fine")).addr())
	for _, protocol := range []string{h1, h1TLS} {
		for _, upgrade := range []string{"tcp", "TLS/1.0", "websocket"} {
			if got := x.askWire(t, protocol, "GET", "/", "", field{"Connection", "Upgrade"}, field{"Upgrade", upgrade}); got.body != "fine" {
				t.Errorf("%s: %s", upgrade, got)
			}
		}
	}
}

// A target that takes nothing of an upload and does not answer has had its time, as
// one has that takes all of it.
func TestTargetThatTakesNoUploadGives504(t *testing.T) {
	t.Parallel()
	eachKindOfTarget(t, func(t *testing.T, start startTarget) {
		over := make(chan struct{})
		_, target := start(t, func(http.ResponseWriter, *http.Request) { <-over })
		t.Cleanup(func() { close(over) }) // before the app is stopped
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{target}, TargetTimeout: duration(500 * time.Millisecond)})
		eachProtocol(t, func(t *testing.T, protocol string) {
			c := x.client(t, protocol)
			got, err := c.ask(c.request(t, http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 20<<20))))
			if err != nil || got.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("%s", describe(got, err))
			}
		})
	})
}

// A target that accepts connections and is silent, or closes them, in the TLS
// handshake has not seen the request: another one can have it.
func TestTargetThatFailsTheHandshakeCostsNoRequest(t *testing.T) {
	t.Parallel()
	_, fine := startTLSApp(t, true, named("fine"))
	for name, serve := range map[string]func(net.Conn){
		"silent": func(net.Conn) {},
		"closes": func(conn net.Conn) { conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, serve)
			x := newSiteWith(t, plain.Get(t), api.DeployRequest{
				Targets: []string{"https://" + l.Addr().String(), fine}, Force: true,
			})
			c := x.client(t, h2)
			for range 4 {
				got, err := c.ask(c.request(t, http.MethodPost, "/", strings.NewReader("hello")))
				if err != nil || got.body != "fine" {
					t.Errorf("%s", describe(got, err))
				}
			}
		})
	}
}

// established returns the number of connections to a port of this machine that nobody
// has begun to close.
func established(t *testing.T, addr string) (n int) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip("skipped: this system has no table of connections")
	}
	for line := range strings.Lines(string(table)) {
		const remote, state, isEstablished = 2, 3, "01"
		fields := strings.Fields(line)
		if strings.HasSuffix(fields[remote], fmt.Sprintf(":%04X", number)) && fields[state] == isEstablished {
			n++
		}
	}
	return n
}

// Trap 71: a connection that is stuck in a write goes with its release.
func TestStuckConnectionGoesWithItsRelease(t *testing.T) {
	t.Parallel()
	stuck, over := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over) })
	a := startRawH2App(t, func(c *rawH2Conn, f http2.Frame) bool {
		switch f.(type) {
		case *http2.HeadersFrame:
			_ = c.WriteWindowUpdate(0, 1<<30)
		case *http2.DataFrame:
			close(stuck)
			<-over
			return false
		}
		return true
	}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	x := newH2Site(t, a.addr)
	c := x.client(t, h2)
	go func() {
		_, _ = c.ask(c.request(t, http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 50<<20))))
	}()
	arrive(t, "the upload", stuck)
	if established(t, a.addr) == 0 { // there may be more, of health checks
		t.Fatal("there is no connection to the target")
	}
	status, err := x.Deploy(t.Context(), api.DeployRequest{
		Hosts: []string{x.host}, Targets: []string{startApp(t, named("next")).addr()}, DrainTimeout: duration(100 * time.Millisecond),
	})
	if n := established(t, a.addr); err != nil || status.Cut == nil || n != 0 {
		t.Errorf("the deploy cut %v, and ended with %v; and there are %d connections to the old target", status.Cut, err, n)
	}
}

// A request that is held until the next release comes keeps its body: also over HTTP/3,
// where one has to look whether there is any, and also when a target has been sent it,
// which then said that it went away.
func TestHeldRequestKeepsItsBody(t *testing.T) {
	t.Parallel()
	for name, startOld := range map[string]func(t *testing.T) string{
		"not sent": refusingAddr,
		"sent": func(t *testing.T) string {
			var a *rawH2App
			a = startRawH2App(t, func(c *rawH2Conn, f http2.Frame) bool {
				if data, ok := f.(*http2.DataFrame); ok && len(data.Data()) > 0 {
					_ = a.stopListening()
					_ = c.WriteGoAway(0, http2.ErrCodeNo, nil)
				}
				return true
			})
			return "h2c://" + a.addr
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachKindOfTarget(t, func(t *testing.T, start startTarget) {
				eachProtocol(t, func(t *testing.T, protocol string) {
					old := startOld(t)
					// While the old one listens: the port that it gives up would make the new one the
					// same target, which the request that is held then goes to.
					_, next := start(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
					x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{old}, Force: true, HoldTimeout: duration(patience)})
					c := x.client(t, protocol)
					body, upload := io.Pipe()
					t.Cleanup(func() { upload.Close() })
					got := make(chan string, 1)
					go func() {
						a, err := c.ask(c.request(t, http.MethodDelete, "/", body))
						got <- fmt.Sprint(a.body, err)
					}()
					_, err := io.WriteString(upload, "hel")
					must(t, err)
					waitFor(t, "the request to be held", func() bool {
						active := x.status(t).Active
						return active.Requests == 1 && active.Targets[0].Health == api.HealthFailing
					})
					x.deployTo(t, next)
					_, err = io.WriteString(upload, "lo")
					must(t, err)
					must(t, upload.Close())
					if got := arrive(t, "the answer", got); got != "hello<nil>" {
						t.Errorf("the app was sent %s", got)
					}
				})
			})
		})
	}
}
