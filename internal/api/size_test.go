package api

import (
	"encoding/json"
	"testing"
)

func TestSizesAreReadWithTheirUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "65536": 65536, "1B": 1, "512k": 512_000, "512kB": 512_000, "512 KB": 512_000, "512KiB": 512 << 10, "512Ki": 512 << 10,
		"10MB": 10_000_000, "10 m": 10_000_000, "1.5GiB": 3 << 29, "0.5MB": 500_000, "1TiB": 1 << 40, "1024TiB": MaxSize, " 7 ": 7,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1x", "1e6", "0x10", "1MBit", "1 0", "1025TiB", "NaN", "Inf", "1,5MB", "ten"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}

// TestSizesAreWrittenAsTheyAreRead is about what is stored and shown.
func TestSizesAreWrittenAsTheyAreRead(t *testing.T) {
	t.Parallel()
	for size, want := range map[Size]string{
		0: "0", 1: "1B", 1000: "1kB", 1024: "1KiB", 1 << 20: "1MiB", 10_000_000: "10MB", 1_234_567: "1234567B", MaxSize: "1024TiB",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d is written as %s, want %s", int64(size), got, want)
		}
		b, err := json.Marshal(size)
		var back Size
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back != size {
			t.Errorf("%s is read back from %s as %d, %v", want, b, back, err)
		}
	}
	var n Size
	if err := json.Unmarshal([]byte("4096"), &n); err != nil || n != 4096 {
		t.Errorf("a JSON number is %d, %v, want 4096", n, err)
	}
	for _, bad := range []string{"-1", "1.5", "true", `"-1"`, "1e3", "9007199254740993000"} {
		if err := json.Unmarshal([]byte(bad), &n); err == nil {
			t.Errorf("%s is accepted as a size", bad)
		}
	}
}
