package api

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDurationsNeedAUnit(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0s": 0, "0": 0, "500ms": 500 * time.Millisecond, "1m30s": 90 * time.Second, "-1s": -time.Second, "1.5h": 90 * time.Minute,
	} {
		if got, err := ParseDuration(in); err != nil || time.Duration(got) != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "30", "s", "1 s", "1d", "ten seconds", "9999999999h", "1s\x1b"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func TestDurationsAreStringsInJSON(t *testing.T) {
	var d Duration
	if err := json.Unmarshal([]byte(`"1m30s"`), &d); err != nil || d != Duration(90*time.Second) {
		t.Errorf("1m30s is read as %v, %v", d, err)
	}
	if b, err := json.Marshal(d); err != nil || string(b) != `"1m30s"` {
		t.Errorf("90 seconds are written as %s, %v", b, err)
	}
	for _, in := range []string{`30`, `"30"`, `null1`, `{}`, `true`, `""`} {
		if err := json.Unmarshal([]byte(in), &d); err == nil {
			t.Errorf("%s is read as %v, want an error", in, d)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"30s", "1h2m3.5s", "-1ns", "0", "2562047h47m16.854775807s", "1e9s", "µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Fatalf("%q is %d, whose String is %q, which is %d, %v", s, d, d, again, err)
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again Duration
		if err := json.Unmarshal(b, &again); err != nil || again != d {
			t.Fatalf("%s is read as %v, %v, want %v", b, again, err, d)
		}
	})
}
