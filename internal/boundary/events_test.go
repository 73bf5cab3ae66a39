package boundary

import (
	"regexp"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// comments are the lines of a stream of events that are parts of none.
var comments = regexp.MustCompile(`(?m)^:.*\n`)

// eventEnds returns the offsets in b at which no event has begun that has not
// ended. It is the naive way to find them.
func eventEnds(b []byte) (ends []int) {
	for end := 1; end <= len(b); end++ {
		s := strings.ReplaceAll(string(b[:end]), "\r\n", "\n")
		s = strings.ReplaceAll(s, "\r", "\n")
		s = comments.ReplaceAllString(s, "")
		if strings.Trim(s, "\n") == "" || strings.HasSuffix(s, "\n\n") {
			ends = append(ends, end)
		}
	}
	return ends
}

func TestEventBordersAgreeWithNaiveParser(t *testing.T) {
	rnd := testkit.NewRand(t)
	parts := []string{"\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\r\r", "data: x", "id: 1", ":", "x"}
	for range 2000 {
		var b []byte
		for range rnd.IntN(20) {
			b = append(b, parts[rnd.IntN(len(parts))]...)
		}
		longest := 1 + rnd.IntN(8)
		checkBorders(t, new(Events), b, eventEnds(b), func() int { return 1 + rnd.IntN(longest) })
	}
}

func FuzzEventBorders(f *testing.F) {
	for _, s := range []string{"data: 1\n\n", "data: 1\r\n\r\ndata", "data: 1\r\rdata: 2\r\r\n", "\n\n\n", ":\n\r\n", ":\n", "data: 1\n:\n", ": x\r", "\r\n\r", "\ufeffdata\n\n"} {
		f.Add([]byte(s), uint8(len(s)))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		if len(b) > 500 {
			b = b[:500] // the naive way is a slow one
		}
		checkBorders(t, new(Events), b, eventEnds(b), func() int { return 1 + int(piece) })
	})
}
