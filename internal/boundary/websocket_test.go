package boundary

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// checkBorders feeds b to s in pieces of the given lengths and compares what it
// finds with ends.
func checkBorders(t *testing.T, s Scanner, b []byte, ends []int, piece func() int) {
	t.Helper()
	if !s.AtBoundary() {
		t.Fatal("a new scanner is not at a boundary")
	}
	for start := 0; start < len(b); {
		end := min(start+piece(), len(b))
		got := s.Scan(b[start:end])
		want, atBorder := 0, start == 0 && end == 0
		for _, e := range ends {
			if start < e && e <= end {
				want = e - start
			}
			atBorder = atBorder || e == end
		}
		if got != want || s.AtBoundary() != atBorder {
			t.Fatalf("bytes %d to %d of %q: boundary at %d, at a boundary %v, want %d, %v", start, end, b, got, s.AtBoundary(), want, atBorder)
		}
		start = end
	}
}

func randomFrames(rnd *rand.Rand) []byte {
	var b []byte
	for range rnd.IntN(6) {
		n := []int{0, 1, 2, 124, 125, 126, 127, 128, 300, 65535, 65536, 66000}[rnd.IntN(12)]
		var key []byte
		if rnd.IntN(2) == 0 {
			key = []byte{byte(rnd.Uint32()), 2, 3, 4}
		}
		b = append(b, testkit.Frame(byte(rnd.IntN(16)), make([]byte, n), key...)...)
	}
	return b[:len(b)-rnd.IntN(len(b)/2+1)]
}

func TestFrameBordersAgreeWithNaiveParser(t *testing.T) {
	rnd := testkit.NewRand(t)
	for range 300 {
		b := randomFrames(rnd)
		ends, closed := testkit.FrameEnds(b)
		longest := []int{1, 3, 20, 1000, 100_000}[rnd.IntN(5)]
		f := new(Frames)
		checkBorders(t, f, b, ends, func() int { return 1 + rnd.IntN(longest) })
		if f.SawClose != (closed > 0) {
			t.Fatalf("saw a close frame: %v, want %v", f.SawClose, closed > 0)
		}
	}
}

func TestCloseFrameIsOneAClientUnderstands(t *testing.T) {
	for _, masked := range []bool{false, true} {
		b := CloseFrame(masked)
		if ends, closed := testkit.FrameEnds(b); len(ends) != 1 || ends[0] != len(b) || closed != len(b) {
			t.Fatalf("masked %v: %x is not one close frame", masked, b)
		}
		if got := b[1]&maskBit != 0; got != masked {
			t.Errorf("mask bit %v, want %v", got, masked)
		}
		if opcode, payload := testkit.ReadFrame(t, bytes.NewReader(b)); opcode != testkit.CloseOpcode || binary.BigEndian.Uint16(payload) != 1001 ||
			!strings.Contains(string(payload[2:]), "new release") || len(payload) > 125 {
			t.Errorf("masked %v: opcode %x, payload %q", masked, opcode, payload)
		}
	}
	if bytes.Equal(CloseFrame(true), CloseFrame(true)) {
		t.Error("two frames have the same key (RFC 6455, section 5.3)")
	}
}

func FuzzFrameBorders(f *testing.F) {
	f.Add(testkit.Frame(testkit.TextOpcode, []byte("hello")), uint8(1))
	f.Add(append(testkit.Frame(testkit.PingOpcode, nil, 1, 2, 3, 4), CloseFrame(true)...), uint8(3))
	f.Add(testkit.Frame(testkit.TextOpcode, make([]byte, 126))[:100], uint8(7))
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, uint8(255))
	f.Add([]byte{0x88, 126, 0, 0, 0x81}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		ends, closed := testkit.FrameEnds(b)
		s := new(Frames)
		checkBorders(t, s, b, ends, func() int { return 1 + int(piece) })
		if s.SawClose != (closed > 0) {
			t.Fatalf("saw a close frame: %v, want %v", s.SawClose, closed > 0)
		}
	})
}
