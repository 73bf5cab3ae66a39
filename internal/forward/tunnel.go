package forward

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/descriptors"
)

// partingTime is the time that the client of a WebSocket has to close its side of the
// connection when the target has closed the other.
const partingTime = 5 * time.Second

// tunnel copies between the client's connection and the target's until both have
// ended, and then leaves p. early is what the client has sent already. It keeps
// nothing of the request, which is most of what a request costs.
func (p slot) tunnel(up *tunnelConn, client net.Conn, early []byte) {
	defer p.leave()
	_ = client.SetDeadline(time.Time{}) // those of the server
	fromClient := make(chan struct{})
	go func() {
		defer close(fromClient)
		if len(early) > 0 {
			if _, err := up.Write(early); err != nil {
				up.cut()
				return
			}
			up.traffic.received.Add(int64(len(early)))
		}
		up.copyFrom(client, newReadiness(client), up.splicerFrom(client))
	}()
	if err := up.copyTo(client, up.splicerTo(client)); err != nil {
		up.cut()
	} else if half, ok := client.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		if up.websocket {
			// There is nothing left to say. Other protocols may go on in one direction.
			_ = client.SetReadDeadline(time.Now().Add(partingTime))
		}
	} else {
		_ = client.Close()
	}
	<-fromClient
	_ = client.Close()
	_ = up.Close()
}

// copyStream copies between the target and a client whose side of the stream is
// a request and its answer, until the target's side has ended. When the handler
// returns, the server ends the client's side, which nobody may be reading from then.
func (x *exchange) copyStream(up *tunnelConn) error {
	client := newRequestBody(x.in, x.w)
	defer client.detach()
	go up.copyFrom(client, nil, nil)
	w := flushWriter{x.w, http.NewResponseController(x.w)}
	if err := up.copyTo(w, nil); err != nil {
		up.cut()
		return wrap(ErrBrokenOff, err)
	}
	return up.Close()
}

// flushWriter flushes everything at once.
type flushWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w flushWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if err == nil {
		err = w.rc.Flush()
	}
	return n, err
}

// copyTo copies what the target sends to the client.
func (u *tunnelConn) copyTo(client io.Writer, splice *splicer) error {
	// What came together with the answer is not in the socket any more.
	for u.pending() {
		var first [smallRead]byte
		n, err := u.Read(first[:])
		if n > 0 {
			if _, err := client.Write(first[:n]); err != nil {
				return err
			}
			u.traffic.sent.Add(int64(n))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return copyWhenReady(client, u, u.readiness(), splice, &u.traffic.sent)
}

// copyFrom copies what the client sends to the target.
func (u *tunnelConn) copyFrom(client io.Reader, ready *readiness, splice *splicer) {
	switch err := copyWhenReady(u, client, ready, splice, &u.traffic.received); err {
	case nil:
		_ = u.CloseWrite() // the target may still have something to say
	case errDetached: // the target's side has ended before
	default:
		u.cut()
	}
}

// smallRead is the buffer of a reader that cannot be waited for without one.
const smallRead = 512

// copyWhenReady copies from src to dst and returns nil when src has ended. While
// it waits for src it holds no buffer if ready is not nil, else a small one: most
// streams are idle most of the time. What comes faster than it is copied goes by
// splice, if that is not nil. It counts in copied.
func copyWhenReady(dst io.Writer, src io.Reader, ready *readiness, splice *splicer, copied *atomic.Int64) error {
	var small []byte
	for busy := false; ; {
		if busy && splice != nil && !descriptors.Scarce() { // it takes a pipe
			busy = false
			n, err := splice.move()
			copied.Add(n)
			switch {
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
			continue
		}
		var lent *[copyBufferSize]byte
		buf := small
		switch {
		case ready != nil:
			ready.wait()
			fallthrough
		case busy:
			lent = copyBuffers.Get().(*[copyBufferSize]byte)
			buf = lent[:]
		case small == nil:
			small = make([]byte, smallRead)
			buf = small
		}
		n, readErr := src.Read(buf)
		busy = n == len(buf)
		var err error
		if n > 0 {
			_, err = dst.Write(buf[:n])
			copied.Add(int64(n))
		}
		if lent != nil {
			copyBuffers.Put(lent)
		}
		switch {
		case err != nil:
			return err
		case readErr == io.EOF:
			return nil
		case readErr != nil:
			return readErr
		}
	}
}
