package integration

import (
	"path/filepath"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// TestUpgradesLeaveNothingBehind: no process, descriptor, goroutine, memory or file. It takes 4 upgrades
// under load, or a hundred with PARACHUTE_SOAK.
func TestUpgradesLeaveNothingBehind(t *testing.T) {
	upgrades := soakCount(t, 4, 100)
	p, target := startSecured(t, startApp(t, "a", nil), "--linger", "5s")
	var pids []int
	alone := func() {
		awaitProcesses(t, p, 1)
	}
	underLoad := func(n int) {
		load := rig.StartRawLoad(target, 1)
		for range n {
			pids = append(pids, p.PID())
			before := load.Answered()
			upgrade(t, p)
			waitFor(t, "a request of each class", func() bool { return load.Answered() > before+1 })
			awaitProcesses(t, p, 3)
		}
		expectNothingLost(t, load)
		alone()
	}
	underLoad(2) // whatever is made once is made here
	before := takeInventory(t, p)
	files, err := filepath.Glob(filepath.Join(p.Dir, "*"))
	must(t, err)
	underLoad(upgrades)
	var after inventory
	waitFor(t, "what upgrades leave to go", func() bool {
		after = takeInventory(t, p)
		return after.within(before)
	})
	t.Logf("%d upgrades; before: %+v, after: %+v", upgrades, before, after)
	for _, pid := range pids {
		if rig.IsRunning(pid) {
			t.Errorf("the process %d is still there", pid)
		}
	}
	if left, err := filepath.Glob(filepath.Join(p.Dir, "*")); err != nil || len(left) != len(files) {
		t.Errorf("there were the files %s, and are %s, %v", files, left, err)
	}
}
