package handoff

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// maxMessage bounds a message, in bytes. The largest has the document of a service.
	maxMessage = 16 << 20
	// maxFiles bounds the descriptors of one message. Linux takes 253.
	maxFiles = 64
)

// wire carries messages, and descriptors beside them. One goroutine may read while others write.
type wire struct {
	conn *net.UnixConn
	// unread is what has arrived behind the last message, and files are the descriptors that
	// have arrived.
	unread []byte
	files  []*os.File
	// writing has one message written at a time.
	writing sync.Mutex
	// broken is why no more can be written: half a message may have been.
	broken error
}

func dial(path string, timeout time.Duration) (*wire, error) {
	conn, err := net.DialTimeout("unix", path, timeout)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn.(*net.UnixConn)}, nil
}

// Close closes the connection, and the descriptors that nobody has taken.
func (w *wire) Close() {
	_ = w.conn.Close()
	for _, f := range w.files {
		_ = f.Close()
	}
	w.files = nil
}

// send writes a message with descriptors, which stay open.
func (w *wire) send(m message, descriptors ...int) (err error) {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.broken != nil {
		return w.broken
	}
	defer func() { w.broken = err }()
	// A process that does not read is given up on.
	_ = w.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if len(descriptors) > 0 {
		var n int
		if n, _, err = w.conn.WriteMsgUnix(line, rights(descriptors), nil); err != nil {
			return err
		}
		if line = line[n:]; len(line) == 0 {
			return nil // the other process may have read it, and be gone
		}
	}
	_, err = w.conn.Write(line)
	return err
}

// sendTimeout bounds how long a message takes to be written.
const sendTimeout = 5 * time.Second

// receive returns the next message. It waits no longer than timeout, or for ever if that is 0.
func (w *wire) receive(timeout time.Duration) (message, error) {
	var m message
	deadline := time.Time{}
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	_ = w.conn.SetReadDeadline(deadline)
	for {
		if line, rest, ok := bytes.Cut(w.unread, []byte{'\n'}); ok {
			w.unread = rest
			if err := json.Unmarshal(line, &m); err != nil {
				return m, errors.Join(errNonsense, err)
			}
			return m, nil
		}
		if len(w.unread) > maxMessage {
			return m, errNonsense
		}
		if err := w.fill(); err != nil {
			return m, err
		}
	}
}

// errNonsense means that the other process is there, and says what is no message.
var errNonsense = errors.New("the other process does not speak the protocol")

// fill reads more.
func (w *wire) fill() error {
	data, control := make([]byte, 64<<10), make([]byte, rightsSpace)
	n, nControl, _, _, err := w.conn.ReadMsgUnix(data, control)
	if err != nil {
		return err
	}
	w.unread = append(w.unread, data[:n]...)
	if nControl == 0 {
		return nil
	}
	files, err := filesIn(control[:nControl])
	w.files = append(w.files, files...)
	if err != nil {
		return fmt.Errorf("reading descriptors: %w", err)
	}
	return nil
}

// take returns the first n descriptors that have arrived.
func (w *wire) take(n int) ([]*os.File, error) {
	if len(w.files) < n {
		return nil, fmt.Errorf("%d descriptors have arrived, and %d were announced", len(w.files), n)
	}
	files := w.files[:n]
	w.files = w.files[n:]
	return files, nil
}
