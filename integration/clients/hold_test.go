package clients

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// A request that is held because its only target is gone is answered by the next release
// if one is deployed meanwhile, and one whose client has gone away holds up nobody.
func TestHeldRequestsMoveToTheNextRelease(t *testing.T) {
	t.Parallel()
	const rounds, requests = 4, 8
	methods := []string{http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodPost}
	eachProtocol(t, func(t *testing.T, protocol string) {
		hold := duration(patience)
		a := startApp(t, named("v1"))
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{a.addr()}, HoldTimeout: hold})
		for round := range rounds {
			a.stop()
			name := fmt.Sprintf("v%d", round+2)
			answered, left := make(chan error, requests), make(chan error, requests)
			leaving, leave := context.WithCancel(t.Context())
			ask := func(ctx context.Context, method string, outcome chan<- error) {
				c := x.client(t, protocol)
				var body io.Reader
				if method == http.MethodPost {
					body = strings.NewReader("a body")
				}
				req := c.request(t, method, "/", body).WithContext(ctx)
				go func() { outcome <- wantAnswer(c, req, name) }()
			}
			for i := range requests {
				ask(t.Context(), methods[i%len(methods)], answered)
				// A client over HTTP/1 whose body nobody reads is not seen to leave: that would be
				// to look behind the body.
				method := methods[i%len(methods)]
				if protocol == h1 || protocol == h1TLS {
					method = http.MethodGet
				}
				ask(leaving, method, left)
			}
			waitFor(t, "the requests to be held", func() bool { return x.status(t).Active.Requests == 2*requests })
			leave()
			for range requests {
				if err := arrive(t, "the clients to leave", left); err == nil {
					t.Error("a client that went away got an answer")
				}
			}
			waitFor(t, "those that have left to be let go", func() bool { return x.status(t).Active.Requests == requests })
			a = startApp(t, named(name))
			if status := x.deploy(t, api.DeployRequest{Targets: []string{a.addr()}, HoldTimeout: hold}); status.Error != nil {
				t.Errorf("the deploy ended with %v", status.Error)
			}
			for range requests {
				if err := arrive(t, "an answer", answered); err != nil {
					t.Error(err)
				}
			}
		}
		x.wantUnharmed(t)
	})
}

// wantAnswer makes a request and returns an error if it is not answered by the app with
// that name.
func wantAnswer(c *client, req *http.Request, name string) error {
	got, err := c.ask(req)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", req.Method, err)
	case got.StatusCode != http.StatusOK || got.body != name && req.Method != http.MethodHead:
		return fmt.Errorf("%s: %d %q instead of %q", req.Method, got.StatusCode, got.body, name)
	}
	return nil
}

// The handshake of a WebSocket is held and moves like any request.
func TestHeldWebSocketMovesToTheNextRelease(t *testing.T) {
	t.Parallel()
	for range 8 {
		a := startApp(t, named("gone"))
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{a.addr()}, HoldTimeout: duration(patience)})
		a.stop()
		opened := make(chan error, 1)
		go func() {
			ws, err := rig.DialWebSocket(x.Addr(), x.host, "/ws")
			if err == nil {
				defer ws.Close()
				err = ws.Send("hello")
			}
			if err == nil {
				_, err = ws.Receive()
			}
			opened <- err
		}()
		waitFor(t, "the handshake to be held", func() bool { return x.status(t).Active.Requests == 1 })
		e, err := rig.StartExample("app", "v2")
		must(t, err)
		t.Cleanup(e.Stop)
		x.deployTo(t, e.Addr)
		must(t, arrive(t, "the WebSocket to open", opened))
	}
}

// A request without an answer whose connection to the only target breaks is sent to it once
// more if its method allows that, whatever the client speaks, and else not.
func TestOnlyTargetGetsAGetOnceMore(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		for method, times := range map[string]int64{http.MethodGet: 2, http.MethodOptions: 2, http.MethodPost: 1, http.MethodPut: 1} {
			var arrived atomic.Int64
			a := startRawApp(t, func(c *rawConn) {
				for {
					r, err := c.next()
					if err != nil || r.path() == "/dies" && arrived.Add(1) == 1 {
						return
					}
					c.write(ok("back"))
				}
			})
			x := newSite(t, plain.Get(t), a.addr)
			c := x.client(t, protocol)
			got, err := c.ask(c.request(t, method, "/dies", nil))
			answered := err == nil && got.StatusCode == http.StatusOK && got.body == "back"
			if answered != (times == 2) || arrived.Load() != times {
				t.Errorf("%s: %s, and it arrived %d times instead of %d", method, describe(got, err), arrived.Load(), times)
			}
			x.wantUnharmed(t)
		}
	})
}
