package clients

import (
	"context"
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

// Trap 13: what a connection was used for before says nothing about the next
// request on it, not even while the last one on it is still under way.
func TestPinnedConnectionFollowsTheSwitch(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		apps := []*app{startApp(t, named("a")), startApp(t, named("b"))}
		x := newSite(t, plain.Get(t), apps[0].addr())
		c := x.client(t, protocol)
		for i := range 6 {
			if i > 0 {
				x.deployTo(t, apps[i%2].addr())
			}
			for range 3 {
				if got := c.get(t, "/"); got.body != string("ab"[i%2]) {
					t.Fatalf("after deploy %d, %q answers", i, got.body)
				}
			}
		}
		if n := c.dials.Load(); n != 1 {
			t.Errorf("the client has made %d connections", n)
		}
	})
}

// Streams of one connection may be on different releases.
func TestRequestUnderWayStaysWhereItIs(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h2, h3} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			arrived, release := make(chan struct{}), make(chan struct{})
			old := startApp(t, func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				<-release
				_, _ = io.WriteString(w, "old")
			})
			x := newSite(t, plain.Get(t), old.addr())
			c := x.client(t, protocol)
			slow := make(chan string, 1)
			req := c.request(t, http.MethodGet, "/slow", nil)
			go func() {
				a, err := c.ask(req)
				slow <- fmt.Sprint(a.body, " ", err)
			}()
			arrive(t, "the slow request", arrived)
			deployed := make(chan error, 1)
			go func() {
				_, err := x.Deploy(context.Background(), api.DeployRequest{Hosts: []string{x.host}, Targets: []string{startApp(t, named("next")).addr()}})
				deployed <- err
			}()
			waitFor(t, "the switch", func() bool { return x.status(t).Active.Release == 2 })
			if got := c.get(t, "/"); got.body != "next" {
				t.Errorf("%q answers the next request on the connection", got.body)
			}
			close(release)
			if got := arrive(t, "the slow answer", slow); got != "old <nil>" {
				t.Errorf("the slow request got %s", got)
			}
			must(t, arrive(t, "the deploy", deployed))
			if n := c.dials.Load(); n != 1 {
				t.Errorf("the client has made %d connections", n)
			}
		})
	}
}

// loop makes requests until it is stopped and remembers what failed and how long
// the longest took.
type loop struct {
	stop    context.CancelFunc
	users   sync.WaitGroup
	n       atomic.Int64
	mu      sync.Mutex
	errs    []string
	longest time.Duration
}

func startLoop(t *testing.T, c *client, users int) *loop {
	ctx, stop := context.WithCancel(t.Context())
	l := &loop{stop: stop}
	t.Cleanup(stop)
	for i := range users {
		l.users.Go(func() {
			for ctx.Err() == nil {
				method, body := http.MethodGet, io.Reader(nil)
				if i%2 == 1 {
					method, body = http.MethodPost, strings.NewReader(strings.Repeat("x", 20_000))
				}
				begin := time.Now()
				req, err := http.NewRequest(method, c.url("/"), body)
				if err == nil {
					err = l.once(c, req)
				}
				l.n.Add(1)
				l.mu.Lock()
				l.longest = max(l.longest, time.Since(begin))
				if err != nil {
					l.errs = append(l.errs, err.Error())
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *loop) once(c *client, req *http.Request) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := c.ask(req.WithContext(ctx))
	if err == nil && (a.StatusCode != http.StatusOK || a.body != "a" && a.body != "b") {
		err = fmt.Errorf("%s %q", a.Status, a.body)
	}
	return err
}

// more waits until n more requests have ended, and returns those that failed since
// the last call and the longest time that one took.
func (l *loop) more(t *testing.T, n int64) (failed []string, longest time.Duration) {
	t.Helper()
	want := l.n.Load() + n
	waitFor(t, "requests", func() bool { return l.n.Load() >= want })
	l.mu.Lock()
	defer l.mu.Unlock()
	failed, longest = l.errs, l.longest
	l.errs, l.longest = nil, 0
	return failed, longest
}

// Trap 14: HTTP/3 clients neither stall nor fail over deploys and reloads, and
// HTTP/2 clients no more. HTTP/1.1 is no part of it: there a reload closes idle
// connections, as servers may at any time, and a POST that is just being sent on one
// is lost to the client.
func TestRequestLoopDoesNotStallOverDeploysAndReloads(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h2, h3} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := startServer(t, nil)
			apps := []*app{startApp(t, named("a")), startApp(t, named("b"))}
			x := newSite(t, p, apps[0].addr())
			l := startLoop(t, x.client(t, protocol), 4)
			check := func(when string) {
				t.Helper()
				failed, longest := l.more(t, 50)
				if len(failed) > 0 {
					t.Errorf("%d requests failed %s, such as: %s", len(failed), when, failed[0])
				}
				if longest > 3*time.Second {
					t.Errorf("a request took %s %s", longest, when)
				}
			}
			check("before anything happened")
			for i := range 5 {
				x.deployTo(t, apps[(i+1)%2].addr())
				check("over a deploy")
			}
			for range 3 {
				p.reload(t)
				check("over a reload")
			}
			l.stop()
			l.users.Wait()
		})
	}
}
