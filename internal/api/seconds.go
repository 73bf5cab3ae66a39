package api

import (
	"encoding/json"
	"strconv"
	"time"
)

// Seconds is a length of time that was measured. In JSON it is a number of seconds, which
// programs can compare and add up. What people write, a [Duration], is a string.
type Seconds time.Duration

// Since returns the time since start, to the microsecond.
func Since(start time.Time) Seconds { return Seconds(time.Since(start).Round(time.Microsecond)) }

// MarshalJSON writes s as a number.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// UnmarshalJSON reads s from a number.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	var seconds float64
	err := json.Unmarshal(b, &seconds)
	*s = Seconds(time.Duration(seconds * float64(time.Second)).Round(time.Microsecond))
	return err
}
