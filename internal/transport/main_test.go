package transport

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a test leaves a goroutine behind that runs code of this
// package.
func TestMain(m *testing.M) {
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if code == 0 && !fuzzing {
		deadline := time.Now().Add(testTimeout)
		left := ours()
		for ; len(left) > 0 && time.Now().Before(deadline); left = ours() {
			runtime.Gosched()
		}
		if len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines are left behind:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// ours returns the stacks of the goroutines, but this one, that are in this package
// or were started by it.
func ours() (stacks []string) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(stack, "parachute/internal/transport.") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
