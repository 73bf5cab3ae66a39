package forward

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/boundary"
)

// endlessBody is the body of an answer that has no end of its own. When it is
// closed politely it ends on a border between two messages, with a proper end of
// the response, so that the client knows what it has and comes back for the rest.
type endlessBody struct {
	body io.ReadCloser
	// abort interrupts a Read of body that is waiting.
	abort func()
	// farewell, if not nil, is called when the body ends because it was closed.
	farewell func()
	// tell, if not nil, tells the client that the body has broken off with err, and
	// reports whether it could: the body then ends as if it were whole.
	tell func(err error) bool

	// mu guards what follows.
	mu      sync.Mutex
	borders boundary.Scanner
	// messages are the borders of a gRPC answer, else nil.
	messages *boundary.Messages
	closing  bool
	left     bool // its reader has been told of the end
	// trailersAfter is the number of messages that callEnd was last waited after, and
	// overdue says that this was in vain; callEndTimer is nil until it is waited.
	trailersAfter int
	overdue       bool
	callEndTimer  *time.Timer
}

// callEnd is the time that an answer of at most one message has to come to an end of
// its own on a border, where it would be closed. Nobody can tell a call that has been
// answered from a stream that has begun, but by what follows: the trailers of the one
// come at once. (A server that sends the header of such an answer long before its
// message is taken for one that streams.)
const callEnd = 250 * time.Millisecond

// newEventStream returns the body of a text/event-stream. A client reconnects with
// the id of the last event that it has.
func newEventStream(resp *http.Response) *endlessBody {
	s := &endlessBody{body: resp.Body, borders: &boundary.Events{}}
	if resp.Header.Get("Content-Encoding") != "" {
		s.borders = boundary.Anywhere{}
	}
	return s
}

// newMessageStream returns the body of a gRPC answer. A client that is told
// UNAVAILABLE may try again, elsewhere.
func newMessageStream(resp *http.Response) *endlessBody {
	messages := new(boundary.Messages)
	return &endlessBody{body: resp.Body, borders: messages, messages: messages, farewell: func() {
		resp.Trailer = callTrailer(grpcUnavailable, boundary.CloseReason)
	}}
}

func (s *endlessBody) Read(p []byte) (int, error) {
	if s.ended() {
		return s.part(0)
	}
	n, err := s.body.Read(p)
	s.mu.Lock()
	betweenMessages := s.borders.AtBoundary()
	border := s.borders.Scan(p[:n])
	part := s.closing && (border > 0 || betweenMessages) && !(n > 0 && s.mayBeCall(border == n))
	s.mu.Unlock()
	if part && err != io.EOF {
		// What follows the border is the beginning of a message that the client
		// would never see the end of.
		return s.part(border)
	}
	if err != nil && err != io.EOF && s.tell != nil && s.tell(err) {
		return n, io.EOF
	}
	return n, err
}

// part ends the body behind the first n bytes of what was read.
func (s *endlessBody) part(n int) (int, error) {
	if s.farewell != nil && !s.left {
		s.farewell()
	}
	s.left = true
	return n, io.EOF
}

func (s *endlessBody) Close() error {
	s.mu.Lock()
	if s.callEndTimer != nil {
		s.callEndTimer.Stop()
	}
	s.mu.Unlock()
	return s.body.Close()
}

// ended reports whether s is to end here.
func (s *endlessBody) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing && s.borders.AtBoundary() && !s.awaitsTrailers()
}

// mayBeCall reports whether what has been read so far may be the answer to a call, or
// its beginning, and not that to a stream. s.mu is held.
func (s *endlessBody) mayBeCall(onBorder bool) bool {
	return s.messages != nil && (s.messages.Passed == 0 || s.messages.Passed == 1 && onBorder)
}

// awaitsTrailers reports whether s, which is to end on a border, has time yet to do so
// of its own. s.mu is held.
func (s *endlessBody) awaitsTrailers() bool {
	if !s.mayBeCall(true) {
		return false
	}
	if passed := s.messages.Passed; s.callEndTimer == nil || s.trailersAfter != passed {
		if s.callEndTimer != nil {
			s.callEndTimer.Stop()
		}
		s.trailersAfter, s.overdue = passed, false
		s.callEndTimer = time.AfterFunc(callEnd, func() {
			s.mu.Lock()
			s.overdue = s.overdue || s.trailersAfter == passed
			s.mu.Unlock()
			if s.ended() {
				s.abort()
			}
		})
	}
	return !s.overdue
}

func (s *endlessBody) closePolitely() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	if s.ended() {
		s.abort()
	}
}

// parted implements streamCloser. The end of the answer needs no reply.
func (*endlessBody) parted() bool { return false }

// answering implements streamCloser: the first message is on its way.
func (s *endlessBody) answering() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayBeCall(false) && !s.messages.AtBoundary()
}

func (s *endlessBody) cut() { s.abort() }
