package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// Trap 64: each system call of the save fails in turn. The deploy fails before
// the switch, and what is on disk is what was there before.
func TestFailingSystemCallFailsTheDeployAndNothingElse(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: strace is not installed, so system calls cannot be made to fail")
	}
	for _, call := range []string{"openat", "fsync", "renameat"} {
		t.Run(call, func(t *testing.T) {
			p, first, next := startProxy(t), startApp(t, "first", nil), startApp(t, "next", nil)
			deploy(t, p, to(first))
			before := documents(t, p)
			inject(t, p, call)
			expectFailedSave(t, p, next, before)
		})
	}
}

// Trap 55: the disk is full.
func TestFullDiskFailsTheDeployAndNothingElse(t *testing.T) {
	p := newProxy(t)
	storage := filepath.Join(p.Dir, "storage")
	must(t, os.Mkdir(storage, 0o700))
	if err := syscall.Mount("tmpfs", storage, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("skipped: a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(storage, syscall.MNT_DETACH) })
	must(t, p.Start())
	first, next := startApp(t, "first", nil), startApp(t, "next", nil)
	deploy(t, p, to(first))
	before := documents(t, p)
	fill := filepath.Join(storage, "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	expectFailedSave(t, p, next, before)

	must(t, os.Remove(fill))
	if status := deploy(t, p, to(next)); status.Release != 2 {
		t.Errorf("with space again, the deploy made v%d", status.Release)
	}
}

func expectFailedSave(t *testing.T, p *rig.Proxy, next *app, before map[string]string) {
	t.Helper()
	_, err := p.Deploy(context.Background(), to(next))
	if api.ErrorCode(err) != api.CodeStorage {
		t.Errorf("the deploy ended with %v", err)
	}
	if _, body := get(t, p, "", "/"); body != "first" {
		t.Errorf("%q serves", body)
	}
	for path, document := range documents(t, p) {
		if old, ok := before[path]; ok && old != document {
			t.Errorf("%s has changed:\n%s", path, document)
		}
	}
	if next.requests.Load() != 0 {
		t.Errorf("the next release got %d requests", next.requests.Load())
	}
}

// inject makes every system call of a name fail in the running proxy.
func inject(t *testing.T, p *rig.Proxy, call string) {
	t.Helper()
	traceCalls(t, p, "-o", os.DevNull, "-e", "trace="+call, "-e", "inject="+call+":error=ENOSPC")
}

// traceCalls traces the system calls of the running proxy, with flags of strace, until stop
// is called or the test ends.
func traceCalls(t *testing.T, p *rig.Proxy, flags ...string) (stop func()) {
	t.Helper()
	pid := strconv.Itoa(p.PID())
	strace := exec.Command("strace", append([]string{"-f", "-qq", "-p", pid}, flags...)...)
	var stderr strings.Builder
	strace.Stderr = &stderr
	must(t, strace.Start())
	ended := make(chan struct{})
	go func() {
		_ = strace.Wait()
		close(ended)
	}()
	stop = func() {
		_ = strace.Process.Signal(os.Interrupt)
		<-ended
	}
	t.Cleanup(stop)
	waitFor(t, "strace to attach", func() bool {
		select {
		case <-ended:
			t.Skipf("skipped: strace may not trace here: %s", stderr.String())
		default:
		}
		return allTraced(pid)
	})
	return stop
}

// allTraced reports whether every thread of a process has a tracer.
func allTraced(pid string) bool {
	files, _ := filepath.Glob("/proc/" + pid + "/task/*/status")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
			return false
		}
	}
	return len(files) > 0
}

// documents returns the stored documents by their paths.
func documents(t *testing.T, p *rig.Proxy) map[string]string {
	t.Helper()
	root := filepath.Join(p.Dir, "storage", "parachute", "services")
	files, err := filepath.Glob(filepath.Join(root, "*", "*.json"))
	must(t, err)
	all := make(map[string]string)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		all[strings.TrimPrefix(f, root)] = string(b)
	}
	return all
}
