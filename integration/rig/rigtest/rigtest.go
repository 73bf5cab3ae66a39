// Package rigtest holds what the black-box tests of all modules need in order to wait
// and to fail.
package rigtest

import (
	"flag"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Patience bounds every wait for something that should happen soon, on a machine that
// may be busy with other things. It is less than what parachute itself waits for a
// client that stalls, so that a test can tell the two apart.
const Patience = 45 * time.Second

// Must fails the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Arrive waits for a signal from another goroutine.
func Arrive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		t.Fatalf("waiting for %s", what)
		panic("unreachable")
	}
}

// WaitFor polls the outside world, which cannot be subscribed to.
func WaitFor(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !happened() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Parallel lets n tests run at a time, unless the command line says how many. It is
// for tests that wait more than they work: one for each core would waste minutes.
func Parallel(n string) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", n)
	}
}

// Duration returns d as a field of a request has it.
func Duration(d time.Duration) *api.Duration {
	pd := api.Duration(d)
	return &pd
}
