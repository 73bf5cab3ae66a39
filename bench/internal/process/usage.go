package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ClockTicks is USER_HZ, the unit of times in /proc/PID/stat. It is 100 on every
// architecture that Go supports on Linux.
const ClockTicks = 100

// CPUTime returns the time that the process and its descendants have spent on
// cores, user and system, those that have ended and been waited for included.
//
// It asks the clock that every process has (clock_getcpuclockid(3)), which counts
// nanoseconds and keeps what threads that have ended used. The alternatives fall
// short in one of both: /proc/PID/stat counts ticks of 10 ms, and a thread's line
// in /proc/PID/task/TID/schedstat disappears with the thread.
func (p *Process) CPUTime() (time.Duration, error) {
	tree, err := processTree(p.PID())
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, s := range tree {
		// MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of linux/posix-timers.h.
		clock := int32(^s.pid)<<3 | 2
		var t unix.Timespec
		if err := unix.ClockGettime(clock, &t); err == unix.EINVAL || err == unix.ESRCH {
			continue // ended since; its parent has the time now
		} else if err != nil {
			return 0, fmt.Errorf("reading the clock of process %d: %w", s.pid, err)
		}
		total += time.Duration(t.Nano()) + s.reaped
	}
	return total, nil
}

// Memory is what processes occupy, in bytes.
type Memory struct {
	RSS int64 // pages that more than one of them has are counted for each
	PSS int64 // pages are shared out among all who have them
}

// Memory returns what the process and its descendants occupy.
func (p *Process) Memory() (Memory, error) {
	var total Memory
	tree, err := processTree(p.PID())
	if err != nil {
		return total, err
	}
	for _, s := range tree {
		path := fmt.Sprintf("/proc/%d/smaps_rollup", s.pid)
		file, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		} else if err != nil {
			return total, fmt.Errorf("reading the memory of process %d: %w", s.pid, err)
		}
		m, err := parseSmapsRollup(file)
		if err != nil {
			return total, fmt.Errorf("reading %s: %w", path, err)
		}
		total.RSS += m.RSS
		total.PSS += m.PSS
	}
	return total, nil
}

// parseSmapsRollup parses /proc/PID/smaps_rollup (proc_pid_smaps(5)).
func parseSmapsRollup(file []byte) (Memory, error) {
	var m Memory
	found := 0
	for line := range bytes.Lines(file) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[2]) != "kB" {
			continue
		}
		var into *int64
		switch string(fields[0]) {
		case "Rss:":
			into = &m.RSS
		case "Pss:":
			into = &m.PSS
		default:
			continue
		}
		kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return m, fmt.Errorf("parsing %q: %w", line, err)
		}
		*into = kib << 10
		found++
	}
	if found != 2 {
		return m, errors.New("it has no Rss and Pss")
	}
	return m, nil
}

// stat is what we need of /proc/PID/stat.
type stat struct {
	pid, parent int
	reaped      time.Duration // used by children that have ended
}

// parseStat parses /proc/PID/stat (proc_pid_stat(5)).
func parseStat(file string) (stat, error) {
	// The second field is the program's name in parentheses. It can hold spaces
	// and parentheses itself.
	open, end := strings.IndexByte(file, '('), strings.LastIndexByte(file, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("it has no name")
	}
	fields := strings.Fields(file[end+1:])
	if len(fields) < 15 {
		return stat{}, errors.New("it has too few fields")
	}
	var numbers [4]int64
	for i, field := range []string{strings.TrimSpace(file[:open]), fields[4-3], fields[16-3], fields[17-3]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("parsing %q: %w", field, err)
		}
		numbers[i] = n
	}
	return stat{
		pid: int(numbers[0]), parent: int(numbers[1]),
		reaped: time.Duration(numbers[2]+numbers[3]) * time.Second / ClockTicks,
	}, nil
}

// processTree returns the process and its descendants.
func processTree(root int) ([]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]stat)
	var tree []stat
	for _, path := range files {
		file, err := os.ReadFile(path)
		if err != nil {
			continue // ended since
		}
		s, err := parseStat(string(file))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if s.pid == root {
			tree = append(tree, s)
		}
		children[s.parent] = append(children[s.parent], s)
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}
