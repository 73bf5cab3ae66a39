package clients

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Trap 9: a deploy leaves a WebSocket alone for as long as the stream timeout says,
// then both of its ends are told to go away.
func TestWebSocketLivesThroughTheStreamTimeout(t *testing.T) {
	t.Parallel()
	const streamTimeout = 800 * time.Millisecond
	eachProtocol(t, func(t *testing.T, protocol string) {
		old, next := startEcho(t, "old"), startEcho(t, "next")
		x := newSite(t, plain.Get(t), old.addr())
		c := x.client(t, protocol)
		ws, err := c.dialWebSocket(t, "/ws")
		must(t, err)
		if got, err := echo(ws, "hello"); got != "old hello" || err != nil {
			t.Fatalf("echo of hello: %q, %v", got, err)
		}
		begin := time.Now()
		var end error
		var lived time.Duration
		var messages int
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			var at time.Time
			at, messages, end = talk(ws, "old")
			lived = at.Sub(begin)
		}()
		status := x.deploy(t, api.DeployRequest{Targets: []string{next.addr()}, StreamTimeout: duration(streamTimeout)})
		deployed := time.Since(begin)
		arrive(t, "the end of the WebSocket", ended)
		wantGoingAway(t, "the client", end)
		wantGoingAway(t, "the app", arrive(t, "the app's end", old.ended))
		t.Logf("lived %s after the deploy began, %d messages; deploy took %s", lived, messages, deployed)
		if lived < streamTimeout/2 || messages == 0 {
			t.Errorf("the WebSocket lived %s of %s after the switch and passed %d messages", lived, streamTimeout, messages)
		}
		if deployed > streamTimeout+5*time.Second {
			t.Errorf("the deploy took %s", deployed)
		}
		for _, d := range status.Drained {
			if d.CutStreams != 0 || d.CutRequests != 0 {
				t.Errorf("the deploy cut %d streams and %d requests", d.CutStreams, d.CutRequests)
			}
		}
		again, err := c.dialWebSocket(t, "/ws")
		must(t, err)
		if got, err := echo(again, "hello"); got != "next hello" || err != nil {
			t.Errorf("after the deploy: %q, %v", got, err)
		}
	})
}

// Trap 9, on the wire: over HTTP/2 and HTTP/3 the stream comes to its end. A reset
// would be an error, whatever the client has been told before.
func TestPoliteCloseEndsTheStreamWithoutAReset(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h2, h3} {
		for name, answers := range map[string]bool{"client that answers": true, "client that does not": false} {
			t.Run(protocol+", "+name, func(t *testing.T) {
				t.Parallel()
				old, next := startEcho(t, "old"), startEcho(t, "next")
				x := newSite(t, plain.Get(t), old.addr())
				w := x.dialWire(t, protocol)
				w.(interface{ headers(bool, ...field) }).headers(false,
					field{":method", "CONNECT"}, field{":protocol", "websocket"}, field{":scheme", "https"},
					field{":authority", x.host}, field{":path", "/ws"}, field{"Sec-WebSocket-Version", "13"})
				answered := make(chan wireAnswer, 1)
				go func() { answered <- w.answer() }()
				waitFor(t, "the WebSocket", func() bool { return x.status(t).Active.Streams == 1 })
				deployed := make(chan error, 1)
				go func() {
					_, err := x.Deploy(t.Context(), api.DeployRequest{
						Hosts: []string{x.host}, Targets: []string{next.addr()}, StreamTimeout: duration(0),
					})
					deployed <- err
				}()
				wantGoingAway(t, "the app", arrive(t, "the app's end", old.ended))
				if answers {
					w.send("\x88\x82\x00\x00\x00\x00\x03\xe9") // 1001, masked with zeros
				}
				got := arrive(t, "the end of the stream", answered)
				if got.status != http.StatusOK || got.err != nil || !strings.HasPrefix(got.body, "\x88") || !strings.HasPrefix(got.body[2:], "\x03\xe9") {
					t.Errorf("the client has got %s, want a close frame with 1001 and the end", got)
				}
				if err := arrive(t, "the deploy", deployed); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Trap 11: the end of the process is polite to WebSockets, too.
func TestStopClosesWebSocketsPolitely(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		p := startServer(t, nil, "--grace-period", "5s")
		e := startEcho(t, "app")
		c := newSite(t, p, e.addr()).client(t, protocol)
		const n = 5
		ends := make(chan error, n)
		for range n {
			ws, err := c.dialWebSocket(t, "/ws")
			must(t, err)
			go func() {
				_, _, end := talk(ws, "app")
				ends <- end
			}()
		}
		begin := time.Now()
		must(t, p.Signal(syscall.SIGTERM))
		for range n {
			wantGoingAway(t, "a client", arrive(t, "the end of a WebSocket", ends))
			wantGoingAway(t, "the app", arrive(t, "the end at the app", e.ended))
		}
		code, err := p.Stop(patience)
		if took := time.Since(begin); err != nil || code != 0 || took > 7*time.Second {
			t.Errorf("the proxy ended with %d (%v) after %s", code, err, took)
		}
	})
}

// Trap 15: not everyone is told to reconnect in the same instant.
func TestClosesOfManyWebSocketsAreSpread(t *testing.T) {
	t.Parallel()
	const (
		n       = 500
		window  = 2 * time.Second
		perConn = 50 // of HTTP/2 and HTTP/3
	)
	eachProtocol(t, func(t *testing.T, protocol string) {
		old, next := startEcho(t, "old"), startEcho(t, "next")
		x := newSite(t, plain.Get(t), old.addr())
		var all []*websocket.Conn
		for i := 0; i < n; i += perConn {
			c := x.client(t, protocol)
			for range perConn {
				ws, err := c.dialWebSocket(t, "/ws")
				must(t, err)
				all = append(all, ws)
			}
		}
		var mu sync.Mutex
		var ends []time.Duration
		var begin time.Time
		var open sync.WaitGroup
		for _, ws := range all {
			open.Go(func() {
				_, _, err := ws.Read(t.Context())
				at := time.Now()
				mu.Lock()
				defer mu.Unlock()
				wantGoingAway(t, "a client", err)
				ends = append(ends, at.Sub(begin))
			})
		}
		mu.Lock()
		begin = time.Now()
		mu.Unlock()
		x.deploy(t, api.DeployRequest{Targets: []string{next.addr()}, StreamTimeout: duration(window)})
		open.Wait()
		slices.Sort(ends)
		// The busiest tenth of the window has a tenth of the closes, if they are
		// evenly spread. A busy machine holds some of them up, so that they are seen together; half of them
		// would be a crowd.
		most := 0
		for i, end := range ends {
			j := i
			for j < len(ends) && ends[j] < end+window/10 {
				j++
			}
			most = max(most, j-i)
		}
		t.Logf("%d closes from %s to %s, at most %d in %s", len(ends), ends[0], ends[len(ends)-1], most, window/10)
		if ends[len(ends)-1]-ends[0] < window/2 || most > n/2 {
			t.Errorf("the closes are not spread over %s", window)
		}
	})
}
