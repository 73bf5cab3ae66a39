// Package clients holds the black-box tests that need real clients: browsers'
// protocols, WebSockets, gRPC and curl. It is a module of its own, so that the
// plugin's go.mod stays free of their libraries. The WebSockets here are a library's,
// on both sides, and not the rig's: nobody who wrote the proxy has written them.
//
// The tests talk to the real binary over real sockets. Most share one running
// proxy, where each has a host of its own; PARACHUTE_BIN names a binary that need
// not be built first.
package clients

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

const patience = rigtest.Patience

var (
	must     = rigtest.Must
	waitFor  = rigtest.WaitFor
	duration = rigtest.Duration
)

// arrive waits for a signal from another goroutine.
func arrive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	return rigtest.Arrive(t, what, ch)
}

func TestMain(m *testing.M) {
	rigtest.Parallel("16")
	// A remark of quic-go on the buffers of UDP sockets, which nothing here needs.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	rigtest.Main(m, &plain, &logged)
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
