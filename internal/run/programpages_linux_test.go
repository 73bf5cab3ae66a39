package run

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestMemoryOfTheProgramIsGivenBack but for what runs, and the program goes on.
func TestMemoryOfTheProgramIsGivenBack(t *testing.T) {
	before := residentFile(t)
	if err := releaseProgram(); err != nil {
		t.Fatal(err)
	}
	after := residentFile(t)
	t.Logf("%d KiB of files, then %d", before, after)
	if after > before/2 {
		t.Errorf("%d KiB of files are in memory, and then %d", before, after)
	}
}

// residentFile returns how much of files is in the memory of the process, in KiB.
func residentFile(t *testing.T) int {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "RssFile:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, " kB")))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("this kernel does not tell")
	return 0
}

// TestMemoryThatWasWrittenToIsKept because the file does not have it.
func TestMemoryThatWasWrittenToIsKept(t *testing.T) {
	const program = "/opt/a b/parachute (deleted)"
	smaps := "00400000-00500000 r-xp 00000000 fe:00 1 /opt/a b/parachute (deleted)\nRss: 4 kB\nAnonymous:             0 kB\nVmFlags: rd ex\n" +
		"00500000-00600000 r--p 00100000 fe:00 1    /opt/a b/parachute (deleted)\nAnonymous:           8 kB\n" +
		"00600000-00700000 rw-p 00200000 fe:00 1    /opt/a b/parachute (deleted)\nAnonymous:           0 kB\n" +
		"00700000-00800000 r--p 00000000 fe:00 2    /lib/parachute (deleted)\nAnonymous:           0 kB\n" +
		"00800000-00900000 rw-p 00000000 00:00 0 \nAnonymous:           0 kB\n"
	got := programMappings([]byte(smaps), program)
	if len(got) != 1 || got[0] != (mapping{0x400000, 0x500000}) {
		t.Errorf("%x", got)
	}
}
