package integration

import (
	"net/http"
	"sync"
	"testing"
)

// connections notes where the requests come from that an app gets.
type connections struct {
	mu  sync.Mutex
	all map[string]bool
}

// startConnected starts an app that answers its name and notes its connections.
func startConnected(t *testing.T, name string) (*app, *connections) {
	t.Helper()
	c := &connections{all: make(map[string]bool)}
	return startApp(t, name, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.all[r.RemoteAddr] = true
		c.mu.Unlock()
		_, _ = w.Write([]byte(name))
	}), c
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

// TestScalingIsNoColdStart for the instances that stay, and leaves nothing behind.
func TestScalingIsNoColdStart(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	a, toA := startConnected(t, "a")
	b, toB := startConnected(t, "b")
	c, toC := startConnected(t, "c")
	scaleTo := func(apps ...*app) {
		t.Helper()
		args := []string{"deploy", "--service", "shop", "--lb", "round_robin"}
		for _, a := range apps {
			args = append(args, a.addr())
		}
		if r := run(t, p, args...); r.Code != 0 {
			t.Fatalf("%d %s", r.Code, r.Stderr)
		}
		for range 2 * len(apps) {
			// The one before may still be about to give its connection back.
			waitFor(t, "no request is in flight", func() bool { return services(t, p)[0].Active.Requests == 0 })
			if resp, body := get(t, p, "", "/"); resp.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
		}
	}
	scaleTo(a, b)
	before := takeInventory(t, p)
	for range 10 {
		scaleTo(a, b, c)
		scaleTo(a, b)
	}
	if toA.count() != 1 || toB.count() != 1 || toC.count() != 10 {
		t.Errorf("%d, %d and %d connections, want 1, 1 and one for each time that the third came", toA.count(), toB.count(), toC.count())
	}
	waitFor(t, "everything of the releases before has ended", func() bool { return takeInventory(t, p).within(before) })
	for _, target := range services(t, p)[0].Active.Targets {
		if target.Address != c.addr() && target.Connections != 1 {
			t.Errorf("%+v, want one connection", target)
		}
	}
}
