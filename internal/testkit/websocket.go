package testkit

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"testing"
)

// ReadFrame reads a WebSocket frame and returns its opcode and its payload,
// without the mask.
func ReadFrame(t testing.TB, r io.Reader) (opcode byte, payload []byte) {
	t.Helper()
	read := func(n uint64) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("reading a frame: %v", err)
		}
		return b
	}
	header := read(2)
	n := uint64(header[1] & 0x7f)
	switch n {
	case 126:
		n = uint64(binary.BigEndian.Uint16(read(2)))
	case 127:
		n = binary.BigEndian.Uint64(read(8))
	}
	var key []byte
	if header[1]&0x80 != 0 {
		key = read(4)
	}
	payload = read(n)
	for i := range payload {
		if key != nil {
			payload[i] ^= key[i%4]
		}
	}
	return header[0] & 0xf, payload
}

// MaskKey masks what the client sends.
var MaskKey = []byte{1, 2, 3, 4}

func MustWrite(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

// Opcodes of frames (RFC 6455, section 5.2).
const (
	TextOpcode  = 0x1
	CloseOpcode = 0x8
	PingOpcode  = 0x9
)

// WebSocketAccept is what a server answers to a key (RFC 6455, section 4.2.2).
func WebSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Frame returns a WebSocket frame as a peer would send it; a key masks it.
func Frame(opcode byte, payload []byte, key ...byte) []byte {
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

// FrameEnds returns the offsets behind the frames that are whole in b, and behind
// the first close frame, or 0. It is the naive way to find them.
func FrameEnds(b []byte) (ends []int, closed int) {
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
