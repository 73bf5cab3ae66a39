package proxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// requestBody watches how much of a client's body has been read, and whether the
// client is to blame when reading fails.
type requestBody struct {
	body io.ReadCloser
	// read says that reading has begun: the request cannot be sent again.
	read atomic.Bool
	// failed says that the body was malformed or broke off.
	failed atomic.Bool
	// over says that the exchange has ended.
	over atomic.Bool
}

var errExchangeOver = errors.New("the exchange is over")

func (b *requestBody) Read(p []byte) (int, error) {
	if b.over.Load() {
		return 0, errExchangeOver
	}
	b.read.Store(true)
	n, err := b.body.Read(p)
	if err != nil && err != io.EOF {
		b.failed.Store(true)
	}
	return n, err
}

// Close does nothing: a transport closes the body of an attempt that failed, but
// the body belongs to the server, which closes it when the request is over.
func (b *requestBody) Close() error { return nil }

// detach keeps a transport that still holds the body from reading on when the
// server has taken it back.
func (b *requestBody) detach() { b.over.Store(true) }

func (b *requestBody) touched() bool { return b.read.Load() }

// again returns the body for another attempt, as [net/http.Request.GetBody] does.
func (b *requestBody) again() (io.ReadCloser, error) {
	if b.touched() {
		return nil, errors.New("the body has been read from")
	}
	return b, nil
}

// copyBuffers lends buffers to the reverse proxy.
type copyBuffers struct{}

const copyBufferSize = 32 << 10

var copyBufferPool = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

func (copyBuffers) Get() []byte { return copyBufferPool.Get().(*[copyBufferSize]byte)[:] }

func (copyBuffers) Put(b []byte) {
	copyBufferPool.Put((*[copyBufferSize]byte)(b))
}
