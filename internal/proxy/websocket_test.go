package proxy

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// Opcodes of frames (RFC 6455, section 5.2).
const (
	textFrame   = 0x1
	closeOpcode = 0x8
	pingFrame   = 0x9
)

// webSocketAccept is what a server answers to a key (RFC 6455, section 4.2.2).
func webSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// frame returns a WebSocket frame as a peer would send it; a key masks it.
func frame(opcode byte, payload []byte, key ...byte) []byte {
	b := []byte{0x80 | opcode, 0}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if len(key) == 0 {
		return append(b, payload...)
	}
	b[1] |= 0x80
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// frameEnds returns the offsets behind the frames that are whole in b, and behind
// the first close frame, or 0. It is the naive way to find them.
func frameEnds(b []byte) (ends []int, closed int) {
	for start := 0; len(b)-start >= 2; {
		header, n := 2, uint64(b[start+1]&0x7f)
		switch n {
		case 126:
			header += 2
		case 127:
			header += 8
		}
		if b[start+1]&0x80 != 0 {
			header += 4
		}
		if len(b)-start < header {
			break
		}
		switch n {
		case 126:
			n = uint64(b[start+2])<<8 | uint64(b[start+3])
		case 127:
			n = 0
			for _, c := range b[start+2 : start+10] {
				n = n<<8 | uint64(c)
			}
		}
		if uint64(len(b)-start-header) < n {
			break
		}
		isClose := b[start]&0xf == 8
		start += header + int(n)
		ends = append(ends, start)
		if isClose && closed == 0 {
			closed = start
		}
	}
	return ends, closed
}

// checkBorders feeds b to s in pieces of the given lengths and compares what it
// finds with ends.
func checkBorders(t *testing.T, s borderScanner, b []byte, ends []int, piece func() int) {
	t.Helper()
	if !s.atBorder() {
		t.Fatal("a new scanner is not at a border")
	}
	for start := 0; start < len(b); {
		end := min(start+piece(), len(b))
		got := s.scan(b[start:end])
		want, atBorder := 0, start == 0 && end == 0
		for _, e := range ends {
			if start < e && e <= end {
				want = e - start
			}
			atBorder = atBorder || e == end
		}
		if got != want || s.atBorder() != atBorder {
			t.Fatalf("bytes %d to %d of %q: border at %d, at a border %v, want %d, %v", start, end, b, got, s.atBorder(), want, atBorder)
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
		b = append(b, frame(byte(rnd.IntN(16)), make([]byte, n), key...)...)
	}
	return b[:len(b)-rnd.IntN(len(b)/2+1)]
}

func TestFrameBordersAgreeWithNaiveParser(t *testing.T) {
	rnd := newRand(t)
	for range 300 {
		b := randomFrames(rnd)
		ends, closed := frameEnds(b)
		longest := []int{1, 3, 20, 1000, 100_000}[rnd.IntN(5)]
		f := new(frameBorders)
		checkBorders(t, f, b, ends, func() int { return 1 + rnd.IntN(longest) })
		if f.sawClose != (closed > 0) {
			t.Fatalf("saw a close frame: %v, want %v", f.sawClose, closed > 0)
		}
	}
}

func TestCloseFrameIsOneAClientUnderstands(t *testing.T) {
	for _, masked := range []bool{false, true} {
		b := closeFrame(masked)
		if ends, closed := frameEnds(b); len(ends) != 1 || ends[0] != len(b) || closed != len(b) {
			t.Fatalf("masked %v: %x is not one close frame", masked, b)
		}
		if got := b[1]&maskBit != 0; got != masked {
			t.Errorf("mask bit %v, want %v", got, masked)
		}
		if opcode, payload := readFrame(t, bytes.NewReader(b)); opcode != closeOpcode || binary.BigEndian.Uint16(payload) != 1001 ||
			!strings.Contains(string(payload[2:]), "new release") || len(payload) > 125 {
			t.Errorf("masked %v: opcode %x, payload %q", masked, opcode, payload)
		}
	}
	if bytes.Equal(closeFrame(true), closeFrame(true)) {
		t.Error("two frames have the same key (RFC 6455, section 5.3)")
	}
}

func FuzzFrameBorders(f *testing.F) {
	f.Add(frame(textFrame, []byte("hello")), uint8(1))
	f.Add(append(frame(pingFrame, nil, 1, 2, 3, 4), closeFrame(true)...), uint8(3))
	f.Add(frame(textFrame, make([]byte, 126))[:100], uint8(7))
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, uint8(255))
	f.Add([]byte{0x88, 126, 0, 0, 0x81}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		ends, closed := frameEnds(b)
		s := new(frameBorders)
		checkBorders(t, s, b, ends, func() int { return 1 + int(piece) })
		if s.sawClose != (closed > 0) {
			t.Fatalf("saw a close frame: %v, want %v", s.sawClose, closed > 0)
		}
	})
}
