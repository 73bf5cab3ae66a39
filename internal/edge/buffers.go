package edge

import (
	"net"
	"sync"

	"github.com/parachute-proxy/parachute/internal/http1"
)

const (
	inSize  = 4 << 10
	outSize = 4 << 10
	// pendingSize is how much of an answer without a length is kept until it is known whether
	// there is more, and then how much of it becomes one chunk.
	pendingSize = 2 << 10
	// keptIn is the largest buffer for heads that is kept for the next connection.
	keptIn = 64 << 10
)

// buffers are what a connection has while it serves a request.
type buffers struct {
	in   []byte
	out  []byte
	head http1.Request
	// text is where the strings of a request are put together, and names where the names of the
	// fields of an answer are sorted.
	text  []byte
	names []string
	// parts and vector are what is written at once: a vector is used up by that.
	parts  [2][]byte
	vector net.Buffers
	passed passed
}

var buffersPool = sync.Pool{New: func() any {
	return &buffers{in: make([]byte, inSize), out: make([]byte, 0, outSize), text: make([]byte, 0, 512)}
}}

func (b *buffers) release() {
	if len(b.in) > keptIn || cap(b.text) > keptIn {
		return
	}
	b.out = b.out[:0]
	clear(b.names[:cap(b.names)])
	b.names = b.names[:0]
	b.parts = [2][]byte{}
	b.passed.forget()
	buffersPool.Put(b)
}

// pendingPool has buffers for answers of which it is not known yet how long they are.
var pendingPool = sync.Pool{New: func() any { return new([pendingSize]byte) }}

// copyPool has buffers to copy with.
var copyPool = sync.Pool{New: func() any { return new([32 << 10]byte) }}
