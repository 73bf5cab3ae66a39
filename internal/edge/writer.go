package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// writer is what an exchange has of its answer.
//
// The head is written in two steps. WriteHeader puts the fields that the handler has set into the
// buffer, since later changes of them do not count. commit adds those that depend on what follows:
// whether there is more than has been written so far, and what it begins with.
type writer struct {
	header http.Header
	// status is what WriteHeader was called with; 0 if it was not.
	status int
	answer answerHead
	// committed says that the whole head is in the buffer.
	committed bool
	// chunking says that the body is chunked.
	chunking bool
	// contentLength is what the handler, or commit, says of the length of the body; -1 for nothing.
	contentLength int64
	// written is how much of a body the handler has written.
	written int64
	// pending is the beginning of a body whose head is not committed, or of a chunk. It is in
	// pendingIn, which is borrowed.
	pending   []byte
	pendingIn *[pendingSize]byte
	// sent says that something of the answer has been sent.
	sent bool
	// err is why something could not be sent.
	err error
	// closes says that the connection ends with the answer.
	closes bool
	// fullDuplex says that the answer may begin before the request has been read.
	fullDuplex bool
	// writeBounded says that there has been a write deadline.
	writeBounded bool
	// done says that the handler has returned, or has taken the connection.
	done atomic.Bool

	// continueMu guards what follows while a body is being read.
	continueMu sync.Mutex
	// awaitsContinue says that the client waits for 100 Continue before it sends the body, and
	// continues that it is sent when that is read.
	awaitsContinue, continues bool
}

// Header implements [http.ResponseWriter].
func (x *exchange) Header() http.Header {
	if x.header == nil {
		x.header = make(http.Header)
	}
	return x.header
}

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(status int) {
	switch {
	case x.done.Load():
		x.conn.server.logf("http: WriteHeader on a request that is over")
		return
	case x.status != 0:
		x.conn.server.logf("http: superfluous WriteHeader call, for %s", x.request.URL.Path)
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if status < 101 || status > 199 {
		x.stopContinue()
	}
	if status >= 100 && status <= 199 && status != http.StatusSwitchingProtocols {
		x.inform(status)
		return
	}
	x.status = status
	if lengths := x.header["Content-Length"]; len(lengths) > 0 && lengths[0] != "" {
		n, err := strconv.ParseInt(lengths[0], 10, 64)
		if err == nil && n >= 0 {
			x.contentLength = n
		} else {
			x.conn.server.logf("http: invalid Content-Length of %q", lengths[0])
			delete(x.header, "Content-Length")
		}
	}
	x.beginHead()
	// Nothing of what follows matters to most heads.
	if h := &x.answer; x.contentLength >= 0 && !h.hasCoding && (h.hasType || h.hasEncoding || !bodyAllowed(status)) {
		if x.body.length == 0 || x.fullDuplex {
			x.commit(nil, false)
		}
	}
}

// stopContinue has the client not be told to go on any more.
func (x *exchange) stopContinue() {
	if x.awaitsContinue {
		x.continueMu.Lock()
		x.continues = false
		x.continueMu.Unlock()
	}
}

// writeContinue tells a client that waits for it to go on, when the body is read.
func (x *exchange) writeContinue() {
	if !x.awaitsContinue {
		return
	}
	x.continueMu.Lock()
	defer x.continueMu.Unlock()
	if x.continues {
		x.continues = false
		_ = x.conn.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// Write implements [io.Writer].
func (x *exchange) Write(p []byte) (int, error) {
	if x.done.Load() {
		return 0, http.ErrHijacked
	}
	x.stopContinue()
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !bodyAllowed(x.status):
		return 0, http.ErrBodyNotAllowed
	}
	x.written += int64(len(p))
	if x.contentLength >= 0 && x.written > x.contentLength {
		return 0, http.ErrContentLength
	}
	if x.committed && !x.chunking {
		x.writeBody(p)
		return x.count(p)
	}
	if len(x.pending)+len(p) <= pendingSize {
		return x.hold(p)
	}
	if !x.committed && len(x.pending) == 0 {
		x.commit(p, false)
	} else {
		x.flushPending()
	}
	if x.chunking && len(p) < pendingSize {
		return x.hold(p)
	}
	x.writeBody(p)
	return x.count(p)
}

// hold holds back p, for which pending has room, so that small writes make one chunk.
func (x *exchange) hold(p []byte) (int, error) {
	if x.pendingIn == nil {
		x.pendingIn = pendingPool.Get().(*[pendingSize]byte)
		x.pending = x.pendingIn[:0]
	}
	x.pending = append(x.pending, p...)
	return x.count(p)
}

// count returns what Write returns for p.
func (x *exchange) count(p []byte) (int, error) {
	if x.err != nil {
		return 0, x.err
	}
	return len(p), nil
}

// flushPending puts what is pending into the buffer, behind the head.
func (x *exchange) flushPending() {
	if !x.committed {
		x.commit(x.pending, false)
	}
	if len(x.pending) > 0 {
		x.writeBody(x.pending)
	}
	x.returnPending()
}

func (x *exchange) returnPending() {
	if x.pendingIn != nil {
		pendingPool.Put(x.pendingIn)
		x.pendingIn, x.pending = nil, nil
	}
}

// writeBody writes a part of the body as it goes over the wire.
func (x *exchange) writeBody(p []byte) {
	if x.request.Method == http.MethodHead {
		return
	}
	if !x.chunking {
		x.put(p)
		return
	}
	var size [18]byte
	x.put(append(strconv.AppendInt(size[:0], int64(len(p)), 16), '\r', '\n'))
	x.put(p)
	x.put(crlf)
}

var crlf = []byte("\r\n")

// put writes p, into the buffer if it has room.
func (x *exchange) put(p []byte) {
	if x.err != nil {
		return
	}
	b := x.conn.buf
	switch {
	case len(b.out)+len(p) <= cap(b.out):
		b.out = append(b.out, p...)
		return
	case x.conn.secure != nil && len(b.out) > 0:
		// To copy p costs less than to encrypt and send one more TLS record.
		n := copy(b.out[len(b.out):cap(b.out)], p)
		b.out, p = b.out[:len(b.out)+n], p[n:]
		x.flush()
		x.put(p)
	case len(b.out) > 0:
		x.sent = true
		x.fail(x.conn.writeBoth(b.out, p))
		b.out = b.out[:0]
	default:
		x.sent = true
		x.fail(x.conn.write(p))
	}
}

// flush sends what is in the buffer.
func (x *exchange) flush() {
	b := x.conn.buf
	if x.err == nil && len(b.out) > 0 {
		x.sent = true
		x.fail(x.conn.write(b.out))
	}
	if cap(b.out) > outSize {
		b.out = make([]byte, 0, outSize)
	}
	b.out = b.out[:0]
}

// fail notes that the client cannot be written to, if err is not nil.
func (x *exchange) fail(err error) {
	if err != nil && x.err == nil {
		x.err, x.closes = err, true
		x.ctx.end()
	}
}

// Flush implements [http.Flusher].
func (x *exchange) Flush() { _ = x.FlushError() }

// FlushError is what [http.ResponseController] calls.
func (x *exchange) FlushError() error {
	if x.done.Load() {
		return http.ErrHijacked
	}
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	x.flushPending()
	x.flush()
	return x.err
}

// ReadFrom implements [io.ReaderFrom]: the system moves what src has, if it can.
func (x *exchange) ReadFrom(src io.Reader) (n int64, err error) {
	buf := copyPool.Get().(*[32 << 10]byte)
	defer copyPool.Put(buf)
	w := struct{ io.Writer }{x}
	if !x.committed {
		// The beginning may say what it is.
		n, err = io.CopyBuffer(w, struct{ io.Reader }{io.LimitReader(src, sniffed)}, buf[:])
		if err != nil || n < sniffed {
			return n, err
		}
	}
	if err := x.FlushError(); err != nil {
		return n, err
	}
	var m int64
	if x.conn.secure != nil || x.chunking || x.request.Method == http.MethodHead || !bodyAllowed(x.status) {
		m, err = io.CopyBuffer(w, struct{ io.Reader }{src}, buf[:])
		return n + m, err
	}
	m, err = x.conn.socket.ReadFrom(src)
	x.written += m
	return n + m, err
}

// sniffed is how much of a body is looked at to find out what it is.
const sniffed = 512

// SetReadDeadline is what [http.ResponseController] calls.
func (x *exchange) SetReadDeadline(deadline time.Time) error {
	if x.done.Load() {
		return http.ErrHijacked
	}
	return x.conn.nc.SetReadDeadline(deadline)
}

// SetWriteDeadline is what [http.ResponseController] calls.
func (x *exchange) SetWriteDeadline(deadline time.Time) error {
	if x.done.Load() {
		return http.ErrHijacked
	}
	x.writeBounded = true
	return x.conn.nc.SetWriteDeadline(deadline)
}

// EnableFullDuplex is what [http.ResponseController] calls.
func (x *exchange) EnableFullDuplex() error {
	x.fullDuplex = true
	return nil
}

// FramesStrictly tells internal/forward that requests with two lengths do not come to a handler, so that a
// chunked one need not end its connection.
func (x *exchange) FramesStrictly() {}

// Hijack implements [http.Hijacker].
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if x.done.Load() {
		return nil, nil, http.ErrHijacked
	}
	x.stopContinue()
	if x.status != 0 {
		if !x.committed {
			x.commit(nil, false)
		}
		x.flush()
	}
	x.done.Store(true)
	x.returnPending()
	c := x.conn
	x.ctx.unwatch()
	x.body.takeAway()
	_ = c.nc.SetDeadline(time.Time{})
	c.hijacked = true
	early := bytes.Clone(c.buf.in[c.r:c.w])
	c.lose()
	c.state.Store(stateActive)
	c.server.untrack(c)
	c.server.tell(c.nc, http.StateHijacked)
	reader := bufio.NewReaderSize(c.nc, inSize)
	if len(early) > 0 {
		reader = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), c.nc), max(inSize, len(early)))
		_, _ = reader.Peek(len(early)) // so that it is what is buffered
	}
	return c.nc, bufio.NewReadWriter(reader, bufio.NewWriter(c.nc)), nil
}

// finish ends the answer when the handler has returned.
func (x *exchange) finish() {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if !x.committed {
		x.commit(x.pending, true)
	}
	if len(x.pending) > 0 {
		x.writeBody(x.pending)
	}
	x.returnPending()
	if x.chunking && x.request.Method != http.MethodHead {
		x.put([]byte("0\r\n"))
		x.writeTrailers()
		x.put(crlf)
	}
	x.flush()
	x.ctx.unwatch()
	_ = x.body.Close()
	x.done.Store(true)
}

// abandon ends an answer whose handler has panicked: what the client has of it stays without its
// end.
func (x *exchange) abandon() {
	if x.done.Swap(true) {
		x.ctx.end()
		return // the connection is not ours
	}
	x.ctx.end()
	x.returnPending()
	if x.sent || x.written > pendingSize {
		x.flush()
	}
	x.ctx.unwatch()
	x.body.takeAway()
}

// reusable reports whether the connection can be used for another request.
func (x *exchange) reusable() bool {
	short := x.request.Method != http.MethodHead && x.contentLength >= 0 && bodyAllowed(x.status) && x.contentLength != x.written
	return !x.closes && !short && x.err == nil && !x.body.gaveUp && x.body.ended()
}
