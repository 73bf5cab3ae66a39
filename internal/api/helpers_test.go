package api

import (
	"testing"
	"time"
)

// ms returns a duration of n milliseconds for a request.
func ms(n int) *Duration { return new(Duration(n) * Duration(time.Millisecond)) }

func wantCode(t testing.TB, err error, code Code) {
	t.Helper()
	if ErrorCode(err) != code {
		t.Fatalf("error %v has the code %q, want %q", err, ErrorCode(err), code)
	}
}
