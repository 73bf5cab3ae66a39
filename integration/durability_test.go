package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The name of a file is in its folder: until that is on the disk, a power cut brings back
// what had the name before.
func TestFoldersOfTheStateAreSyncedBeforeADeployReturns(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: strace is not installed, so system calls cannot be seen")
	}
	p, first, next := startProxy(t), startApp(t, "first", nil), startApp(t, "next", nil)
	services := filepath.Join(p.Dir, "storage", "parachute", "services")
	trace := filepath.Join(p.Dir, "trace")
	stop := traceCalls(t, p, "-y", "-o", trace, "-e", "trace=fsync,renameat,renameat2,unlinkat")
	deploy(t, p, to(first))
	deploy(t, p, to(next))
	must(t, p.Remove(t.Context(), "default"))
	stop()
	b, err := os.ReadFile(trace)
	must(t, err)
	calls := string(b)
	// Each has to come after the one before.
	for _, call := range []string{
		`services/default/current.json"`, "services/default>", services + ">", filepath.Dir(services) + ">", filepath.Join(p.Dir, "storage") + ">",
		`services/default/current.json"`, "services/default>",
		`services/default/current.json"`, services + ">",
	} {
		_, after, found := strings.Cut(calls, call)
		if !found {
			t.Fatalf("%s is not in what follows:\n%s\nin\n%s", call, calls, b)
		}
		calls = after
	}
}

// A kill in the middle of a write leaves a file that nobody else would ever remove.
func TestTemporaryFilesOfKilledWritesAreRemoved(t *testing.T) {
	p := newProxy(t)
	folder := filepath.Join(p.Dir, "storage", "parachute", "services", "web")
	must(t, os.MkdirAll(folder, 0o700))
	longAgo := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"123456", "7", "mine.json", "12a"} {
		must(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
		must(t, os.Chtimes(filepath.Join(folder, name), longAgo, longAgo))
	}
	must(t, os.WriteFile(filepath.Join(folder, "89"), nil, 0o600)) // which may be being written
	must(t, p.Start())
	left := func() string {
		entries, err := os.ReadDir(folder)
		must(t, err)
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return strings.Join(names, " ")
	}
	waitFor(t, "the old temporary files to be removed", func() bool { return left() == "12a 89 mine.json" })
}
