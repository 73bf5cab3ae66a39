package clients

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// deliveries counts how often each request has arrived.
type deliveries struct {
	mu sync.Mutex
	n  map[string]int
}

func (d *deliveries) arrived(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n == nil {
		d.n = make(map[string]int)
	}
	d.n[id]++
}

func (d *deliveries) of(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n[id]
}

// impatientApp closes each connection some time after an answer, like an app with a
// keep-alive timeout does.
type impatientApp struct {
	deliveries
	// swallowed counts the connections that were closed with something to read on
	// them: what arrived there is lost, and nobody can tell that it was never read.
	swallowed atomic.Int64
}

func (a *impatientApp) start(t *testing.T, idle func() time.Duration) (addr string) {
	return startRawApp(t, func(c *rawConn) {
		for {
			r, err := c.next()
			if err != nil {
				return
			}
			a.arrived(r.body)
			c.write(ok(""))
			_ = c.SetReadDeadline(time.Now().Add(idle()))
			if _, err := c.in.Peek(1); err != nil {
				unread := c.unread()
				c.Close()
				if unread > 0 {
					a.swallowed.Add(1)
				}
				return
			}
			_ = c.SetReadDeadline(time.Now().Add(patience))
		}
	}).addr
}

// Trap 18: an app closes idle connections whenever it likes, just as the next
// request goes out. That is neither an error to the client nor a reason to deliver
// a POST twice.
//
// It can be had: what was written behind the app's FIN has not been acknowledged by
// its kernel, which TCP_INFO tells. Only what arrives between the app's decision to
// close and its close is lost.
func TestAppThatClosesIdleConnectionsCostsNoPost(t *testing.T) {
	t.Parallel()
	const idle = 20 * time.Millisecond
	dice := newDice(t)
	for name, when := range map[string]struct{ idle, pause func() time.Duration }{
		"when they have been idle": {
			func() time.Duration { return idle },
			func() time.Duration { return dice.between(idle-2*time.Millisecond, idle+2*time.Millisecond) },
		},
		"at random": {
			func() time.Duration { return dice.between(0, 5*time.Millisecond) },
			func() time.Duration { return dice.between(0, 5*time.Millisecond) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				const users, rounds = 10, 50
				var a impatientApp
				c := newSite(t, plain.Get(t), a.start(t, when.idle)).client(t, protocol)
				var failed, repeated, lost atomic.Int64
				for round := range rounds {
					var posts sync.WaitGroup
					for user := range users {
						id := fmt.Sprint(round, "-", user)
						req := c.request(t, http.MethodPost, "/", strings.NewReader(id))
						posts.Go(func() {
							resp, err := c.ask(req)
							if err != nil || resp.StatusCode != http.StatusOK {
								failed.Add(1)
							} else if a.of(id) == 0 {
								lost.Add(1)
							}
							if a.of(id) > 1 {
								repeated.Add(1)
							}
						})
					}
					posts.Wait()
					// The pace is what this is about; nothing waits for it.
					time.Sleep(when.pause())
				}
				t.Logf("of %d POSTs %d failed, %d arrived more than once, %d were answered but not delivered; the app swallowed %d",
					users*rounds, failed.Load(), repeated.Load(), lost.Load(), a.swallowed.Load())
				if repeated.Load()+lost.Load() > 0 {
					t.Error("a POST was not delivered exactly once")
				}
				// A few may arrive between the app's last look and its close.
				if failed.Load() > a.swallowed.Load()+3 {
					t.Error("POSTs failed that the app cannot have seen")
				}
			})
		})
	}
}

// Trap 19: what an app may have seen is not sent again, whatever the app does to the
// connection and whether it was a fresh one or not.
func TestPostIsNeverDeliveredTwice(t *testing.T) {
	t.Parallel()
	for name, hangUp := range map[string]func(c *rawConn, count func()){
		"reset behind the head": func(c *rawConn, count func()) { _, _ = c.nextHead(); count(); c.reset() },
		"reset behind the body": func(c *rawConn, count func()) { _, _ = c.next(); count(); c.reset() },
		"close behind the body": func(c *rawConn, count func()) { _, _ = c.next(); count() },
		"half an answer": func(c *rawConn, count func()) {
			_, _ = c.next()
			count()
			c.write("HTTP/1.1 200 OK\r\nContent-Le")
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				var count atomic.Int64
				one := func(c *rawConn) {
					for {
						switch first, err := c.in.Peek(len("POST")); {
						case err != nil:
							return
						case string(first) == "POST":
							hangUp(c, func() { count.Add(1) })
							return
						}
						if _, err := c.next(); err != nil {
							return
						}
						c.write(ok("warm"))
					}
				}
				x := newSite(t, plain.Get(t), startRawApp(t, one).addr, startRawApp(t, one).addr)
				c := x.client(t, protocol)
				for i, warm := range []bool{false, true, false, true} {
					if warm {
						if got := c.get(t, "/"); got.body != "warm" {
							t.Fatalf("GET: %s %q", got.Status, got.body)
						}
					}
					req := c.request(t, http.MethodPost, "/", strings.NewReader("charge me once"))
					req.Header.Set("Idempotency-Key", "k")
					a, err := c.ask(req)
					must(t, err)
					if a.StatusCode != http.StatusBadGateway || count.Load() != int64(i+1) {
						t.Errorf("POST %d, on a used connection: %t: %s, %d delivered", i+1, warm, a.Status, count.Load())
					}
				}
			})
		})
	}
}

// Trap 20: what no app has seen is sent to another one, whole.
func TestUploadThatATargetRefusedArrivesAtTheNext(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		upload := strings.Repeat("0123456789abcdef", 1<<16)
		var intact atomic.Int64
		a := startApp(t, func(_ http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); err == nil && string(body) == upload {
				intact.Add(1)
			}
		})
		refusing := startApp(t, named(""))
		addr := refusing.addr()
		refusing.stop()
		// Each release is new to its targets, so half of them try the dead one first.
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{addr, a.addr()}, Force: true})
		c := x.client(t, protocol)
		for i := range 8 {
			if i > 0 {
				x.deploy(t, api.DeployRequest{Targets: []string{addr, a.addr()}, Force: true})
			}
			resp, err := c.ask(c.request(t, http.MethodPost, "/", strings.NewReader(upload)))
			must(t, err)
			if resp.StatusCode != http.StatusOK || intact.Load() != int64(i+1) {
				t.Fatalf("upload %d: %s %q, %d intact", i+1, resp.Status, resp.body, intact.Load())
			}
		}
	})
}

// Trap 21: a GET that meets a reset before any answer is repeated on another target,
// on a fresh connection and on a used one.
func TestGetIsRepeatedOnAnotherTarget(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		var resets atomic.Int64
		resetting := startRawApp(t, func(c *rawConn) {
			if _, err := c.next(); err != nil {
				return
			}
			if c.number%2 == 0 {
				c.write(ok("fine"))
				if _, err := c.next(); err != nil {
					return
				}
			}
			resets.Add(1)
			c.reset()
		})
		x := newSite(t, plain.Get(t), resetting.addr, startApp(t, named("fine")).addr())
		c := x.client(t, protocol)
		for i := range 40 {
			if got := c.get(t, "/"); got.StatusCode != http.StatusOK || got.body != "fine" {
				t.Fatalf("GET %d: %s %q", i+1, got.Status, got.body)
			}
		}
		if resets.Load() == 0 {
			t.Error("no connection was reset: this shows nothing")
		}
	})
}
