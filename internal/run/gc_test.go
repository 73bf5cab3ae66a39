package run

import "testing"

func TestGarbageThatMayGatherDoesNotGrowWithTheHeap(t *testing.T) {
	for live, want := range map[uint64]uint64{
		0:          maxGCPercent,
		1 << 20:    maxGCPercent,
		8 << 20:    300,
		16 << 20:   150,
		24 << 20:   83,
		30 << 20:   56,
		1000 << 20: minGCPercent,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d bytes in use, GOGC is %d, want %d", live, got, want)
		}
	}
}
