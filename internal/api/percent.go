package api

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Percent is a share of something, in hundredths of a percent, from 0 to 10000. It is written
// as in "2.5%".
type Percent uint16

// Whole is all of it.
const Whole Percent = 10_000

// ParsePercent reads a share such as "10%" or "0.5%".
func ParsePercent(s string) (Percent, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || !(f >= 0 && f <= 100) {
		return 0, fmt.Errorf("%.64q is not a percentage; write it as 10%%, from 0%% to 100%%", s)
	}
	return Percent(math.Round(f * 100)), nil
}

// PercentOf returns a share that is given as a fraction from 0 to 1.
func PercentOf(fraction float64) Percent {
	return Percent(math.Round(min(max(fraction, 0), 1) * float64(Whole)))
}

// Fraction returns the share as a fraction from 0 to 1.
func (p Percent) Fraction() float64 { return float64(p) / float64(Whole) }

// String returns the share in the form that [ParsePercent] reads.
func (p Percent) String() string { return strconv.FormatFloat(float64(p)/100, 'f', -1, 64) + "%" }

// MarshalText implements encoding.TextMarshaler.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Percent) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePercent(string(text))
	return err
}
