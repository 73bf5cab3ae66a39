// Package rigtest holds what the black-box tests of all modules need in order to wait
// and to fail.
package rigtest

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// Main runs the tests of a package, then ends what they share, and ends the process. It
// fails if a program that was built with the race detector has reported a race, whoever
// started that program and whatever the tests have seen of it.
func Main(m *testing.M, shared ...interface{ End() error }) {
	races, err := rig.WatchForRaces()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	for _, s := range shared {
		if err := s.End(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := races.All(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	races.Remove()
	rig.RemoveBinaries()
	os.Exit(code)
}

// NewProxy returns a proxy that has not been started. It is ended with the test.
func NewProxy(t testing.TB, args ...string) *rig.Proxy {
	t.Helper()
	p, err := rig.NewProxy(args...)
	Must(t, err)
	EndAfter(t, p)
	return p
}

// Server is a proxy, or one with what it needs around it.
type Server interface {
	End(timeout time.Duration) error
	Log() string
}

// EndAfter ends a server when the test ends. The test fails if there is something to
// blame the server for, and shows the end of the server's log if it has failed.
func EndAfter(t testing.TB, s Server) {
	t.Helper()
	t.Cleanup(func() {
		if err := s.End(Patience); err != nil {
			t.Error(err)
		}
		if log := s.Log(); t.Failed() {
			t.Logf("the proxy's log:\n%s", log[max(0, len(log)-8000):])
		}
	})
}

// Shared is a server that all tests of a package share which disturb nobody. The first
// of them has it launched, and Main ends it.
type Shared[S Server] struct {
	Launch func() (S, error)

	once sync.Once
	s    S
	err  error
	// running says that there is something to end.
	running bool
}

// Get returns the server, which runs.
func (sh *Shared[S]) Get(t testing.TB) S {
	t.Helper()
	sh.once.Do(func() {
		sh.s, sh.err = sh.Launch()
		sh.running = sh.err == nil
	})
	Must(t, sh.err)
	return sh.s
}

// End ends the server, if any test has asked for it.
func (sh *Shared[S]) End() error {
	if !sh.running {
		return nil
	}
	return sh.s.End(Patience)
}

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
