package main

import (
	"testing"
	"time"
)

func TestOthers(t *testing.T) {
	w := window{cpu: 800 * time.Millisecond, load: 700 * time.Millisecond, busy: 1700 * time.Millisecond, cores: 2 * time.Second}
	if got := w.othersPercent(); got != 10 {
		t.Errorf("%v %%", got)
	}
	w.busy = 1400 * time.Millisecond // less than ours: ticks are coarse
	if got := w.othersPercent(); got != 0 {
		t.Errorf("%v %%", got)
	}
	if got := (window{}).othersPercent(); got != 0 {
		t.Errorf("%v %% of no time", got)
	}
}
