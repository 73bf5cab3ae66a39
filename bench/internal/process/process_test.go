package process

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startShell runs a shell script and waits until it has printed "ready".
func startShell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Options{Args: []string{"sh", "-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	err = p.Wait(10*time.Second, func() error {
		if !strings.Contains(p.Log(), "ready") {
			return errors.New("it has printed nothing")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What a child of the process uses counts, while it runs and when it has ended.
func TestCPUTimeCountsChildren(t *testing.T) {
	const busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done;"
	for name, script := range map[string]string{
		"ended":   "sh -c '" + busy + "'; echo ready; sleep 60",
		"running": "sh -c '" + busy + " echo ready; sleep 60' & wait",
	} {
		used, err := startShell(t, script).CPUTime()
		if err != nil {
			t.Fatal(err)
		}
		if used < 10*time.Millisecond || used > 10*time.Second {
			t.Errorf("%s: %s", name, used)
		}
	}
}

func TestMemory(t *testing.T) {
	p := startShell(t, "sleep 60 & echo ready; wait")
	m, err := p.Memory()
	if err != nil {
		t.Fatal(err)
	}
	if m.PSS <= 0 || m.RSS < m.PSS || m.RSS > 100<<20 {
		t.Errorf("%+v", m)
	}
}

func TestStopEndsChildren(t *testing.T) {
	p := startShell(t, "trap '' TERM; sleep 60 & echo ready; wait")
	tree, err := processTree(p.PID())
	if err != nil || len(tree) != 2 {
		t.Fatalf("%+v, %v", tree, err)
	}
	p.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		// Signal 0 asks whether somebody is there.
		if err := syscall.Kill(-p.PID(), 0); err == syscall.ESRCH {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a child is still there")
		}
	}
}

func TestProcessThatEndsAtOnce(t *testing.T) {
	p, err := Start(Options{Args: []string{"sh", "-c", "echo oh no; exit 3"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	err = p.Wait(10*time.Second, func() error { return errors.New("not ready") })
	if err == nil || !strings.Contains(err.Error(), "oh no") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	if _, err := Start(Options{Args: []string{"no-such-program"}, Log: filepath.Join(t.TempDir(), "log")}); err == nil {
		t.Error("it was started")
	}
}

func TestCPUs(t *testing.T) {
	cpus, err := allowed()
	if err != nil || len(cpus) == 0 {
		t.Fatalf("%v, %v", cpus, err)
	}
	last := cpus[len(cpus)-1:]
	p, err := Start(Options{
		Args: []string{"sh", "-c", "grep Cpus_allowed_list /proc/self/status"},
		CPUs: last, Log: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	<-p.done
	if fields := strings.Fields(p.Log()); len(fields) != 2 || fields[1] != last.String() {
		t.Errorf("it runs on %q instead of %s", p.Log(), last)
	}
}
