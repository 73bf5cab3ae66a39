package boundary

import "encoding/binary"

// Messages finds the boundaries between gRPC messages: a byte of flags, four
// bytes of length, and as many bytes (gRPC over HTTP2, "Length-Prefixed-Message").
type Messages struct {
	prefix  [5]byte
	have    int    // of prefix
	payload uint32 // what is left of the message
	Passed  int    // messages
}

func (m *Messages) AtBoundary() bool { return m.have == 0 && m.payload == 0 }

func (m *Messages) Scan(b []byte) (last int) {
	for i := 0; i < len(b); {
		if m.payload > 0 {
			skip := min(int(m.payload), len(b)-i)
			m.payload -= uint32(skip)
			i += skip
		} else {
			n := copy(m.prefix[m.have:], b[i:])
			m.have += n
			i += n
			if m.have < len(m.prefix) {
				break
			}
			m.payload, m.have = binary.BigEndian.Uint32(m.prefix[1:]), 0
		}
		if m.payload == 0 {
			last = i
			m.Passed++
		}
	}
	return last
}
