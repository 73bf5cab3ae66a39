package process

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const file = "4711 (a (b) c) S 12 4711 12 0 -1 4194304 1 2 3 4 50 60 70 8 20 0 1 0 9 10 11\n"
	got, err := parseStat(file)
	want := stat{pid: 4711, parent: 12, reaped: 780 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, broken := range []string{"", "1 a S 2", "1 (a) S 2 3", "x (a) S 12 1 1 0 -1 4194304 1 2 3 4 50 60 70 8 20", ") (a"} {
		if got, err := parseStat(broken); err == nil {
			t.Errorf("%q is %+v", broken, got)
		}
	}
}

func TestParseSmapsRollup(t *testing.T) {
	const file = `00400000-7ffc1c5a9000 ---p 00000000 00:00 0    [rollup]
Rss:                2048 kB
Pss:                1024 kB
Pss_Dirty:           512 kB
`
	got, err := parseSmapsRollup([]byte(file))
	if want := (Memory{RSS: 2 << 20, PSS: 1 << 20}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, broken := range []string{"", "Rss: 1 kB\n", "Rss: x kB\nPss: 1 kB\n"} {
		if got, err := parseSmapsRollup([]byte(broken)); err == nil {
			t.Errorf("%q is %+v", broken, got)
		}
	}
}
