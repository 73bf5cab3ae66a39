package cli

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// A line that the terminal wraps cannot be erased, and would be painted below itself ten
// times a second.
func TestLiveLineIsNeverWrapped(t *testing.T) {
	for _, columns := range []int{120, 80, 40, 20} {
		var out strings.Builder
		l := &liveLine{w: screen(&out, columns, 24).Out, since: time.Now(), text: "draining v13: 0 requests, 3 streams left; streams are closed by 14:07:32 (--stream-timeout)"}
		l.draw()
		line := strings.TrimPrefix(out.String(), eraseLine)
		if n := utf8.RuneCountInString(line); n >= columns {
			t.Errorf("on %d columns, it has %d: %q", columns, n, line)
		}
	}
}
