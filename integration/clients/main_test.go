// Package clients holds the black-box tests that need real clients: browsers'
// protocols, WebSockets, gRPC and curl. It is a module of its own, so that the
// plugin's go.mod stays free of their libraries.
//
// The tests talk to the real binary over real sockets. Most share one running
// proxy, where each has a host of its own; PARACHUTE_BIN names a binary that need
// not be built first.
package clients

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// patience bounds every wait for something that should happen at once.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait more than they work: one at a time for each core would waste
	// minutes.
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", "16")
	}
	// A remark of quic-go on the buffers of UDP sockets, which nothing here needs.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	code := m.Run()
	for _, s := range []*shared{&plain, &logged} {
		if err := s.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	rig.RemoveBinaries()
	os.Exit(code)
}

func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// arrive waits for a signal from another goroutine.
func arrive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waiting for %s", what)
		panic("unreachable")
	}
}

// waitFor polls the outside world, which cannot be subscribed to.
func waitFor(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !happened() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// dice is a source of chance whose seed is in the test's log.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(t *testing.T) *dice {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return &dice{r: rand.New(rand.NewPCG(seed, 0))}
}

func (d *dice) between(from, upTo time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return from + time.Duration(d.r.Int64N(int64(upTo-from)))
}
