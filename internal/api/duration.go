package api

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a length of time that is written as a string such as "30s" or
// "1m30s", on the command line and in JSON alike (see [time.ParseDuration]).
// It implements pflag.Value, so that flags, API and state share one parser.
type Duration time.Duration

// ParseDuration parses s. It accepts no bare numbers: the unit is what people
// guess wrong.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write a number and a unit, such as 500ms, 30s or 5m", s)
	}
	return Duration(d), nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// Set implements pflag.Value.
func (d *Duration) Set(s string) (err error) {
	*d, err = ParseDuration(s)
	return err
}

// Type implements pflag.Value.
func (*Duration) Type() string { return "duration" }

// MarshalText writes d as String does. For JSON, too: it costs less than a
// MarshalJSON, whose result the encoder would look through again.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads d from a string; a number is refused.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a duration: write a string such as \"30s\"", b)
	}
	return d.Set(s)
}
