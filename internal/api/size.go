package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. It is written as a number and a unit, on the command line and in
// JSON alike: kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB powers of 1024 (IEC
// 80000-13). A number alone is bytes, and in JSON it may also be a number. It implements
// pflag.Value.
type Size int64

// MaxSize is the largest [Size] that a setting may have: 1 PiB.
const MaxSize Size = 1 << 50

// sizeUnits are the units of a [Size], the largest first of those that have the same letters.
var sizeUnits = []struct {
	name  string
	bytes Size
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a size such as "10MB", "1.5GiB", "512k" or "65536". Case and space before the
// unit do not matter, and the B may be left out.
func ParseSize(s string) (Size, error) {
	text := strings.TrimSpace(s)
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(text[len(digits):])
	n, err := strconv.ParseFloat(digits, 64)
	bytes := unitOf(unit)
	if err != nil || bytes == 0 || !(n >= 0) || n*float64(bytes) > float64(MaxSize) || strings.ContainsAny(digits, "eExXpP_+-") {
		return 0, fmt.Errorf("%.64q is not a size: write a number and a unit, such as 512KiB, 10MB or 1GiB", s)
	}
	return Size(math.Round(n * float64(bytes))), nil
}

// unitOf returns how many bytes a unit has, or 0 if there is no such unit.
func unitOf(unit string) Size {
	if unit == "" {
		return 1
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(unit, u.name) || strings.EqualFold(unit+"B", u.name) {
			return u.bytes
		}
	}
	return 0
}

// String returns the size in the largest unit that it is a whole number of.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range sizeUnits {
		if s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Set implements pflag.Value.
func (s *Size) Set(text string) (err error) {
	*s, err = ParseSize(text)
	return err
}

// Type implements pflag.Value.
func (*Size) Type() string { return "size" }

// MarshalText writes s as String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalJSON reads s from a string, or from a whole number of bytes.
func (s *Size) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		return s.Set(text)
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < 0 || n > int64(MaxSize) {
		return fmt.Errorf("%s is not a size: write a string such as \"10MB\", or a number of bytes", b)
	}
	*s = Size(n)
	return nil
}
