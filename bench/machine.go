package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine says where a report comes from.
type Machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"` // that may be used
	Virtual bool   `json:"virtual"`
	Memory  int64  `json:"memory_bytes"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	// ProxyCores and LoadCores are empty if there is one core only.
	ProxyCores string `json:"proxy_cores,omitempty"`
	LoadCores  string `json:"load_cores,omitempty"`
	// Stolen is the share of time in percent that the host of a virtual machine
	// did not give it during the run, when it had work to do.
	Stolen float64 `json:"stolen_percent"`
	// Others is the share of all cores in percent that programs which have nothing
	// to do with the benchmark used during measurements.
	Others float64 `json:"others_percent"`
}

// describeMachine finds out what this machine is.
func describeMachine() (Machine, error) {
	m := Machine{Go: runtime.Version()}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, fmt.Errorf("describing the machine: %w", err)
	}
	m.CPU, m.Virtual = parseCPUInfo(string(info))
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return m, fmt.Errorf("describing the machine: %w", err)
	}
	m.Kernel = string(uname.Release[:bytes.IndexByte(uname.Release[:], 0)])
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return m, fmt.Errorf("describing the machine: %w", err)
	}
	m.Memory = int64(system.Totalram) * int64(system.Unit)
	return m, nil
}

// parseCPUInfo parses /proc/cpuinfo.
func parseCPUInfo(file string) (model string, virtual bool) {
	model = runtime.GOARCH // other architectures than x86 name no model
	for line := range strings.Lines(file) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			virtual = slices.Contains(strings.Fields(value), "hypervisor")
		}
	}
	return model, virtual
}

// cpuTicks is what /proc/stat counts of all cores, in process.ClockTicks.
//
// Interrupts are apart from what processes do. On loopback they deliver packets;
// whether that time is also counted for the process that sent them depends on the
// kernel.
type cpuTicks struct{ busy, interrupts, stolen, idle int64 }

func readCPUTicks() (cpuTicks, error) {
	file, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTicks{}, err
	}
	return parseCPUTicks(string(file))
}

// parseCPUTicks parses /proc/stat (proc_stat(5)).
func parseCPUTicks(file string) (cpuTicks, error) {
	line, _, _ := strings.Cut(file, "\n")
	fields := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal guest guest_nice
	if len(fields) < 9 || fields[0] != "cpu" {
		return cpuTicks{}, fmt.Errorf("reading /proc/stat: %q is no line of all cores", line)
	}
	var t cpuTicks
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return cpuTicks{}, fmt.Errorf("reading /proc/stat: %w", err)
		}
		const idle, iowait, irq, softirq, steal = 3, 4, 5, 6, 7
		switch i {
		case idle, iowait:
			t.idle += n
		case irq, softirq:
			t.interrupts += n
		case steal:
			t.stolen += n
		default:
			t.busy += n
		}
	}
	return t, nil
}

// stolenSince returns the share in percent that was stolen of the time in which
// there was work to do.
func (t cpuTicks) stolenSince(earlier cpuTicks) float64 {
	busy, stolen := t.busy+t.interrupts-earlier.busy-earlier.interrupts, t.stolen-earlier.stolen
	if busy+stolen == 0 {
		return 0
	}
	return 100 * float64(stolen) / float64(busy+stolen)
}
