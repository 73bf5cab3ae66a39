// Package acme holds the black-box tests of certificates: a real ACME server, which
// is Pebble, issues them to the real binary over real sockets. It is a module of its
// own, so that the plugin's go.mod stays free of Pebble.
//
// Each proxy of the tests has a certificate authority of its own, because an
// authority validates all names at one pair of ports. PARACHUTE_BIN names a binary
// that need not be built first.
package acme

import (
	"os"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

const patience = rigtest.Patience

var (
	must    = rigtest.Must
	waitFor = rigtest.WaitFor
)

// arrive waits for a signal from another goroutine.
func arrive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	return rigtest.Arrive(t, what, ch)
}

func TestMain(m *testing.M) {
	rigtest.Parallel("12")
	for name, value := range map[string]string{
		// Pebble's pranks: it is slow, refuses good nonces and skips challenges.
		"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0",
		// A remark of quic-go on the buffers of UDP sockets, which nothing here needs.
		"QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING": "true",
	} {
		os.Setenv(name, value)
	}
	rigtest.Main(m, &common)
}
