// Package acme holds the black-box tests of certificates: a real ACME server, which
// is Pebble, issues them to the real binary over real sockets. It is a module of its
// own, so that the plugin's go.mod stays free of Pebble.
//
// Each proxy of the tests has a certificate authority of its own, because an
// authority validates all names at one pair of ports. PARACHUTE_BIN names a binary
// that need not be built first.
package acme

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// patience bounds every wait for something that should happen soon.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait more than they work: one at a time for each core would waste
	// minutes.
	if !given("test.parallel") {
		_ = flag.Set("test.parallel", "12")
	}
	for name, value := range map[string]string{
		// Pebble's pranks: it is slow, refuses good nonces and skips challenges.
		"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0",
		// A remark of quic-go on the buffers of UDP sockets, which nothing here needs.
		"QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING": "true",
	} {
		os.Setenv(name, value)
	}
	code := m.Run()
	if err := common.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
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
		time.Sleep(20 * time.Millisecond)
	}
}
