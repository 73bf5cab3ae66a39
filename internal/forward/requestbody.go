package forward

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/spool"
)

// requestBody watches how much of a client's body has been read, and whether the
// client is to blame when reading fails.
type requestBody struct {
	body   io.ReadCloser
	w      http.ResponseWriter
	atHand bool
	// looked says that the body has been found not to be empty.
	looked bool
	// length is what the request says of the length of the body; negative if it says nothing.
	length int64
	// progress is how far the body has been read. Only the read that is under way changes it,
	// or, if there is none, who takes the body back.
	progress state[bodyProgress]
	// failed is what the client has done wrong with it.
	failed bodyFailure
	// remaining is what is left of a body with a length; negative without one.
	remaining atomic.Int64

	// spool has all of it, if it has been read before there was a target for it, and kept reads
	// that; else nil.
	spool *spool.Spool
	kept  io.Reader

	// replay, if there is one, is what reads from it.
	replay *replayBody

	// writerMu guards changes of what follows, and the client's writer until the answer begins.
	writerMu sync.Mutex
	// interim says whether informational answers may be written.
	interim state[interim]

	// mu guards what follows.
	mu sync.Mutex
	// over says that the exchange has ended.
	over bool
	// reading is closed when the read that is under way ends; nil if there is none.
	reading chan struct{}
}

// newRequestBody returns the body of in. It is that of a former exchange if in comes
// from a release that had none for it.
func newRequestBody(in *http.Request, w http.ResponseWriter) *requestBody {
	if b, ok := in.Body.(*requestBody); ok {
		return b
	}
	b := &requestBody{body: in.Body, w: w, atHand: in.ProtoMajor == 1, length: in.ContentLength}
	if in.ProtoMajor == 1 && in.ProtoMinor > 0 && in.Header.Get("Expect") != "" {
		b.interim.now.Store(int32(interimAwaited))
	}
	b.remaining.Store(in.ContentLength)
	return b
}

var errDetached = errors.New("the body has been taken away")

// longAgo is a deadline that ends all waiting.
var longAgo = time.Unix(1, 0)

// Read reads what the client sends.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.kept != nil {
		return b.kept.Read(p)
	}
	b.mu.Lock()
	if b.over {
		b.mu.Unlock()
		return 0, errDetached
	}
	reading := make(chan struct{})
	b.reading = reading
	b.note(bodyAsked)
	b.mu.Unlock()

	b.askFor()
	n, err := b.body.Read(p)
	left := b.remaining.Add(-int64(n))
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == io.EOF || left == 0:
		b.note(bodyAtEnd)
	case err != nil && b.over:
		err = errDetached // as detach wants it
	case err != nil:
		b.failed.note(bodyFaultOf(err))
	}
	b.reading = nil
	close(reading)
	return n, err
}

// note has e happen to the body. Nobody else may be reading it, or taking it back.
func (b *requestBody) note(e bodyEvent) { b.progress.now.Store(int32(b.progress.load().after(e))) }

// askFor tells a client over HTTP/1.1 that waits for it to send the body. net/http would
// do so when the body is read, but without regard to what else is being written. As then,
// metrics and the like do not see it: they would take it for the answer.
func (b *requestBody) askFor() {
	if b.interim.load() != interimAwaited {
		return
	}
	b.beforeAnswer(func() {
		b.noteInterim(interimContinue)
		inform(unwrapWriter(b.w), 1, http.StatusContinue, nil)
	})
}

// noteInterim has e happen to the time for informational answers. writerMu must be held.
func (b *requestBody) noteInterim(e interimEvent) {
	b.interim.now.Store(int32(b.interim.load().after(e)))
}

// beforeAnswer calls write, which writes an informational answer, unless it is too late for
// one.
func (b *requestBody) beforeAnswer(write func()) {
	b.writerMu.Lock()
	defer b.writerMu.Unlock()
	if b.interim.load() != interimOver {
		write()
	}
}

// answer ends the time for informational answers.
func (b *requestBody) answer() {
	b.writerMu.Lock()
	b.noteInterim(interimAnswer)
	b.writerMu.Unlock()
}

// AtHand reports whether the beginning of the body has probably arrived together
// with the header. Over HTTP/2 and 3 it has not, and the target may want to answer
// before it does.
func (b *requestBody) AtHand() bool { return b.atHand }

// empty reports whether the body has ended before it began, which HTTP/3 does not
// tell. It waits for the first byte or the end.
func (b *requestBody) empty() bool {
	if b.looked {
		return false
	}
	b.looked = true
	first := make([]byte, 512)
	n, err := b.Read(first)
	if n == 0 && err == io.EOF {
		return true
	}
	b.note(bodyTakenBack)
	b.remaining.Add(int64(n))
	b.body = readCloser{io.MultiReader(bytes.NewReader(first[:n]), errorReader{err}, b.body), b.body}
	return false
}

// Unread takes back p, the beginning of the body: it has been read, and reached no target.
// No read may be under way.
func (b *requestBody) Unread(p []byte) {
	b.body = readCloser{io.MultiReader(bytes.NewReader(p), b.body), b.body}
	b.remaining.Add(int64(len(p)))
	b.note(bodyTakenBack)
}

type readCloser struct {
	io.Reader
	io.Closer
}

// errorReader fails with err, or ends if that is nil.
type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return 0, io.EOF
}

// Close does nothing: a transport closes the body of an attempt that failed, but
// the body belongs to the server, which closes it when the request is over.
func (b *requestBody) Close() error { return nil }

// settle waits for the read that is under way, if it ends at once: the server tells
// that a client has gone before the read that has noticed it returns.
func (b *requestBody) settle() {
	b.mu.Lock()
	reading := b.reading
	b.mu.Unlock()
	if reading != nil {
		select {
		case <-reading:
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// detach takes the body away from a transport that is still reading: the server
// is about to take it back, and would wait for the client's next byte.
func (b *requestBody) detach() {
	b.mu.Lock()
	b.over = true
	reading := b.reading
	b.mu.Unlock()
	if reading != nil {
		_ = http.NewResponseController(b.w).SetReadDeadline(longAgo)
		<-reading
	}
}

// touched reports whether the body cannot be sent again.
func (b *requestBody) touched() bool {
	if b.spool != nil {
		return false
	}
	if b.replay != nil {
		return !b.replay.whole()
	}
	return b.progress.load() != bodyUnread
}

// size returns how much of the body has been read.
func (b *requestBody) size() int64 { return b.length - b.remaining.Load() }

// complete reports whether the body has been read to its end.
func (b *requestBody) complete() bool { return b.progress.load() == bodyEnded }

// DiscardBody gives up the body of a request that [Release.Forward] has handed back and
// that goes to no other release.
func DiscardBody(r *http.Request) {
	if body, ok := r.Body.(*requestBody); ok {
		body.detach()
	}
}
