package rigtest

import (
	"os/exec"
	"strings"
	"testing"
)

// Docker runs a command of Docker, and returns what it prints. It ends the test if that fails.
func Docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
