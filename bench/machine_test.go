package main

import (
	"math"
	"testing"
)

func TestParseCPUInfo(t *testing.T) {
	const file = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu vme hypervisor\n\nprocessor\t: 1\n"
	if model, virtual := parseCPUInfo(file); model != "Some CPU @ 3 GHz" || !virtual {
		t.Errorf("%q, %v", model, virtual)
	}
	if model, virtual := parseCPUInfo("processor\t: 0\nBogoMIPS\t: 50.00\n"); model == "" || virtual {
		t.Errorf("%q, %v", model, virtual)
	}
}

func TestStolenTime(t *testing.T) {
	before, err := parseCPUTicks("cpu  100 0 50 1000 10 0 5 20 0 0\ncpu0 1 2 3\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseCPUTicks("cpu  150 0 75 9000 99 0 10 40 0 0\n")
	if err != nil {
		t.Fatal(err)
	}
	// 100 ticks of work, 20 of them stolen.
	if got := after.stolenSince(before); math.Abs(got-20) > 1e-9 {
		t.Errorf("%v %%", got)
	}
	if want := (cpuTicks{busy: 225, interrupts: 10, stolen: 40, idle: 9099}); after != want {
		t.Errorf("%+v", after)
	}
	if got := after.stolenSince(after); got != 0 {
		t.Errorf("%v %% of no time", got)
	}
	for _, broken := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu 1 2 3 4 5 6 7 x"} {
		if _, err := parseCPUTicks(broken); err == nil {
			t.Errorf("%q: no error", broken)
		}
	}
}
