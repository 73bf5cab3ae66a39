package forward

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/boundary"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// tunnelConn is the target's side of a connection that has been upgraded. A
// tunnel copies between it and the client; tunnelConn watches the frames pass
// and, when it is closed politely, says goodbye to both sides with a
// close frame on a frame boundary (RFC 6455, section 7.1.1). Other protocols than
// WebSocket it merely closes, since it does not know their words for it.
type tunnelConn struct {
	body io.ReadWriteCloser
	// conn is the connection below body: its deadline interrupts a waiting Read.
	conn      net.Conn
	websocket bool
	traffic   *Traffic
	// parting is how far the polite close has come.
	parting state[parting]
	// closeClient, if not nil, closes the connection to the client. For a stream of
	// HTTP/2 or 3 that is a reset, which an end by itself is not.
	closeClient func()
	isStream    bool

	// These belong to the goroutine that reads.
	toClient   boundary.Frames
	closeFrame []byte // what is left of the close frame for the client

	// writeMu serialises writes to the target, which it is held over, and guards
	// what follows.
	writeMu      sync.Mutex
	toTarget     boundary.Frames
	targetClosed bool // the target has had its close frame; nothing may follow it

	// answered is closed when the client's close frame has passed, or when nobody
	// waits for it any more.
	answered   chan struct{}
	answerOnce sync.Once
}

func newTunnelConn(body io.ReadWriteCloser, conn net.Conn, websocket bool, t *Traffic) *tunnelConn {
	return &tunnelConn{body: body, conn: conn, websocket: websocket, traffic: t, answered: make(chan struct{})}
}

// pending reports whether the target has sent something that is not in its socket any
// more.
func (u *tunnelConn) pending() bool {
	t, ok := u.body.(*transport.Switched)
	return ok && t.Pending()
}

// readiness returns a way to wait for the target, or nil.
func (u *tunnelConn) readiness() *readiness {
	if u.conn == nil {
		return nil
	}
	return newReadiness(u.conn)
}

// splicerTo and splicerFrom return a way to move what the target sends to the client,
// and the other way round, past Read and Write, or nil.
func (u *tunnelConn) splicerTo(client net.Conn) *splicer {
	if u.websocket || u.conn == nil {
		return nil
	}
	return newSplicer(client, u.conn, u.closing)
}

func (u *tunnelConn) splicerFrom(client net.Conn) *splicer {
	if u.websocket || u.conn == nil {
		return nil
	}
	return newSplicer(u.conn, client, func() bool { return false })
}

// Read returns what the target sends to the client and, in the end, the close
// frame.
func (u *tunnelConn) Read(p []byte) (int, error) {
	for {
		if u.closing() && (!u.websocket || u.toClient.AtBoundary()) {
			return u.readCloseFrame(p)
		}
		n, err := u.body.Read(p)
		end := u.toClient.Scan(p[:n])
		if u.closing() && u.websocket && end > 0 {
			// Whole frames still pass; the beginning of another does not.
			u.toClient = boundary.Frames{SawClose: u.toClient.SawClose}
			return end, nil
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !u.closing() {
			return n, err
		}
		if !u.toClient.AtBoundary() {
			// The rest of the frame is still to come. If it does not, the drain
			// cuts the stream, and says so.
			_ = u.conn.SetReadDeadline(time.Time{})
		}
	}
}

// readCloseFrame returns the close frame for the client, waits a little for the
// answer, so that the connection is not torn down under it. Then it hangs up,
// which is for the server to do (RFC 6455, section 7.1.1).
func (u *tunnelConn) readCloseFrame(p []byte) (int, error) {
	if !u.websocket {
		return 0, io.EOF
	}
	if u.note(partingBoundary) == partingAsked && !u.toClient.SawClose {
		u.closeFrame = boundary.CloseFrame(false)
	}
	if len(u.closeFrame) > 0 {
		n := copy(p, u.closeFrame)
		u.closeFrame = u.closeFrame[n:]
		return n, nil
	}
	// Whoever reads has written everything that was read before.
	u.note(partingWritten)
	linger := time.NewTimer(streamLinger)
	defer linger.Stop()
	select {
	case <-u.answered:
		if u.closeClient != nil && !u.isStream {
			u.closeClient()
		}
	case <-linger.C: // the drain cuts it, and says so; a stream ends by itself
	}
	return 0, io.EOF
}

// Write passes on what the client sends to the target.
func (u *tunnelConn) Write(p []byte) (int, error) {
	u.writeMu.Lock()
	defer u.writeMu.Unlock()
	end := u.toTarget.Scan(p)
	if u.toTarget.SawClose {
		u.closeAnswered()
	}
	if u.targetClosed {
		return len(p), nil
	}
	if u.closing() && u.websocket && end > 0 {
		if _, err := u.body.Write(p[:end]); err != nil {
			return 0, err
		}
		return len(p), u.closeTarget()
	}
	return u.body.Write(p)
}

// closeTarget sends the target its close frame, unless the client has sent one.
func (u *tunnelConn) closeTarget() error {
	u.targetClosed = true
	if u.toTarget.SawClose {
		return nil
	}
	_, err := u.body.Write(boundary.CloseFrame(true))
	return err
}

func (u *tunnelConn) Close() error { return u.body.Close() }

// CloseWrite tells the target that the client has sent its last byte. The target
// may still answer.
func (u *tunnelConn) CloseWrite() error {
	u.closeAnswered()
	if c, ok := u.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

func (u *tunnelConn) closePolitely() {
	if u.note(partingAsk) != partingNone {
		return
	}
	_ = u.conn.SetReadDeadline(time.Now())
	u.writeMu.Lock()
	defer u.writeMu.Unlock()
	if u.websocket && !u.targetClosed && u.toTarget.AtBoundary() {
		_ = u.closeTarget()
	}
}

func (u *tunnelConn) closeAnswered() { u.answerOnce.Do(func() { close(u.answered) }) }

func (u *tunnelConn) clientTold() bool { return u.parting.load() == partingTold }

// note has e happen to the polite close, and returns how far that had come before.
func (u *tunnelConn) note(e partingEvent) (before parting) {
	return u.parting.advance(func(p parting) parting { return p.after(e) })
}

// closing reports whether the connection is to be closed politely.
func (u *tunnelConn) closing() bool { return u.parting.load() != partingNone }

// maybeUnary implements streamCloser.
func (*tunnelConn) maybeUnary() bool { return false }

// cut closes both sides: a client that ignores its close frame would otherwise
// hold the exchange for as long as it likes.
func (u *tunnelConn) cut() {
	_ = u.body.Close()
	switch {
	case u.isStream && u.clientTold():
		// A reset is an error to the client, whatever it was told before, and over
		// HTTP/3 it may overtake that.
		u.closeAnswered()
	case u.closeClient != nil:
		u.closeClient()
	}
}
