package forward

import (
	"maps"
	"net/http"
	"net/textproto"
	"sync"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// informationalQueue passes on the informational answers to one request that net/http's
// transport reports. That reports them where it reads from the connection, which other
// requests may share, and does not wait for the report when it fails: so whoever reports
// must not wait for a slow client, and nothing may reach the client when the exchange
// has gone on.
type informationalQueue struct {
	tell transport.InformationalFunc // nil if nobody wants to know

	// mu guards what follows.
	mu      sync.Mutex
	waiting []informationalAnswer
	// passing is closed when nothing is being passed on any more; nil if nothing is.
	passing chan struct{}
	ended   bool
}

type informationalAnswer struct {
	status int
	header http.Header
}

// maxWaiting bounds the answers that wait for a client. Nobody depends on more.
const maxWaiting = 100

// add is what a [httptrace.ClientTrace] wants.
func (q *informationalQueue) add(status int, header textproto.MIMEHeader) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended || q.tell == nil || len(q.waiting) == maxWaiting {
		return nil
	}
	q.waiting = append(q.waiting, informationalAnswer{status, http.Header(header)})
	if q.passing == nil {
		q.passing = make(chan struct{})
		go q.pass(q.passing)
	}
	return nil
}

func (q *informationalQueue) pass(done chan<- struct{}) {
	defer close(done)
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.passing = nil
			q.mu.Unlock()
			return
		}
		next := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		_ = q.tell(next.status, next.header) // a client that is gone shows in the answer
	}
}

// end returns when all that was reported has been passed on or, without an answer that
// it belongs to, when no more of it will be. It may have to wait for the client to take
// one, since nobody else may write to it meanwhile.
func (q *informationalQueue) end(answered bool) {
	q.mu.Lock()
	q.ended = true
	if !answered {
		q.waiting = nil
	}
	passing := q.passing
	q.mu.Unlock()
	if passing != nil {
		<-passing
	}
}

// inform writes an informational answer to a client that speaks HTTP/major.
func inform(w http.ResponseWriter, major, status int, header http.Header) {
	h := w.Header()
	before := maps.Clone(h)
	if status == http.StatusContinue {
		clear(h) // as net/http sends it
	}
	for name, values := range header {
		if !hopByHop(name) && name != "Content-Length" {
			h[name] = values
		}
	}
	if major == 2 {
		// To a client that goes away meanwhile, the server for HTTP/2 may still be writing
		// the header when WriteHeader has returned. One with a length, which has no place
		// here, it copies (responseWriterState.writeHeader in golang.org/x/net/http2).
		h["Content-Length"] = []string{"0"}
	}
	w.WriteHeader(status)
	clear(h)
	maps.Copy(h, before)
}

// unwrapWriter returns the writer of the server itself.
func unwrapWriter(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}
