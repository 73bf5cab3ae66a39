package process

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// CPUs is a set of cores by number, as in /proc/cpuinfo. The empty set means any.
type CPUs []int

// Pinning says on which cores a benchmark runs.
type Pinning struct {
	Proxy CPUs // what is measured
	Load  CPUs // the load generator and the upstream
}

// pinnedEnv holds the proxy's core in the environment of a program that Pin has
// started again.
const pinnedEnv = "PARACHUTE_BENCH_PROXY_CPU"

// Pin gives the proxies the first core that this process may use, and the rest
// to this process. With one core it does nothing, and both sets are empty.
//
// A thread has cores, not a process, and the Go runtime has started threads by
// now. So Pin starts the program again in its own place, with a thread that is
// pinned.
func Pin() (Pinning, error) {
	if cpu, err := strconv.Atoi(os.Getenv(pinnedEnv)); err == nil {
		load, err := allowed()
		return Pinning{Proxy: CPUs{cpu}, Load: load}, err
	}
	all, err := allowed()
	if err != nil || len(all) < 2 {
		return Pinning{}, err
	}
	runtime.LockOSThread()
	if err := all[1:].pinThread(); err != nil {
		return Pinning{}, err
	}
	err = syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), fmt.Sprintf("%s=%d", pinnedEnv, all[0])))
	return Pinning{}, fmt.Errorf("starting again on other cores: %w", err)
}

// String lists the cores.
func (c CPUs) String() string {
	var s []string
	for _, cpu := range c {
		s = append(s, strconv.Itoa(cpu))
	}
	return strings.Join(s, ",")
}

// pinThread moves the calling thread to the cores.
func (c CPUs) pinThread() error {
	if len(c) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, cpu := range c {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("moving to core %s: %w", c, err)
	}
	return nil
}

// allowed returns the cores that the calling thread may use.
func allowed() (CPUs, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("asking for the cores: %w", err)
	}
	var cpus CPUs
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
