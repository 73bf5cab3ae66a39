package run

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseProgram gives back the memory of the program's own code and constants, most of which only
// its start has used: the kernel takes what is needed again from its cache of the file. Pages that are
// not as they are in the file, because something was relocated in them, are left alone.
func releaseProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	all, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	for _, m := range programMappings(all, program) {
		// The kernel counts addresses, and nothing of Go's is at stake there.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// programMappings returns the mappings of a program's file that are as the file is: they cannot be written
// to, and no page of them has been. smaps is as in proc_pid_smaps(5).
func programMappings(smaps []byte, program string) (found []mapping) {
	var m mapping
	candidate := false
	for lines := bufio.NewScanner(bytes.NewReader(smaps)); lines.Scan(); {
		line := lines.Text()
		name, value, _ := strings.Cut(line, " ")
		if !strings.HasSuffix(name, ":") { // the first line of a mapping
			from, to, _ := strings.Cut(name, "-")
			start, err1 := strconv.ParseUint(from, 16, 64)
			end, err2 := strconv.ParseUint(to, 16, 64)
			m = mapping{uintptr(start), uintptr(end)}
			candidate = err1 == nil && err2 == nil && strings.HasPrefix(value, "r-") && strings.HasSuffix(value, " "+program)
		} else if candidate && name == "Anonymous:" && strings.TrimSpace(value) == "0 kB" {
			found = append(found, m)
		}
	}
	return found
}
