package boundary

import (
	"crypto/rand"
	"encoding/binary"
)

// WebSocket constants of RFC 6455.
const (
	opcodeClose       = 0x8
	finBit            = 0x80
	maskBit           = 0x80
	statusGoingAway   = 1001 // section 7.4.1
	CloseReason       = "a new release took over"
	maxFrameHeaderLen = 14
)

// Frames finds the boundaries between WebSocket frames (RFC 6455, section
// 5.2). It reads headers and skips payloads, so it costs nothing per byte.
type Frames struct {
	header [maxFrameHeaderLen]byte
	// have is the number of header bytes seen, payload what is left of the
	// payload of the current frame.
	have    int
	payload uint64
	// SawClose says that a whole close frame has passed: the sides are saying
	// goodbye themselves.
	SawClose bool
}

func (f *Frames) AtBoundary() bool { return f.have == 0 && f.payload == 0 }

func (f *Frames) Scan(b []byte) (last int) {
	for i := 0; i < len(b); {
		if f.payload > 0 {
			skip := min(f.payload, uint64(len(b)-i))
			f.payload -= skip
			i += int(skip)
		} else {
			f.header[f.have] = b[i]
			f.have++
			i++
			if f.have < f.headerLen() {
				continue
			}
			f.payload = f.payloadLen()
			f.have = 0
		}
		if f.payload == 0 {
			last = i
			f.SawClose = f.SawClose || f.header[0]&0x0f == opcodeClose
		}
	}
	return last
}

// headerLen returns the length of the current header, as far as the bytes seen
// tell.
func (f *Frames) headerLen() int {
	if f.have < 2 {
		return 2
	}
	n := 2
	switch f.header[1] &^ maskBit {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.header[1]&maskBit != 0 {
		n += 4
	}
	return n
}

func (f *Frames) payloadLen() uint64 {
	switch n := f.header[1] &^ maskBit; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.header[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.header[2:])
	default:
		return uint64(n)
	}
}

// CloseFrame returns a close frame with the status 1001. What goes to the target
// has to be masked, as if the client had sent it (section 5.1).
func CloseFrame(masked bool) []byte {
	payload := binary.BigEndian.AppendUint16(nil, statusGoingAway)
	payload = append(payload, CloseReason...)
	frame := []byte{finBit | opcodeClose, byte(len(payload))}
	if !masked {
		return append(frame, payload...)
	}
	frame[1] |= maskBit
	var key [4]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	frame = append(frame, key[:]...)
	for i, b := range payload {
		frame = append(frame, b^key[i%4])
	}
	return frame
}
