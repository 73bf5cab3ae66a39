package forward

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/boundary"
)

// streamBody is the body of an answer that has no end of its own. When it is
// closed politely it ends on a boundary between two messages, with a proper end of
// the response, so that the client knows what it has and comes back for the rest.
type streamBody struct {
	body io.ReadCloser
	// abort interrupts a Read of body that is waiting.
	abort func()
	// beforeEnd, if not nil, is called when the body ends because it was closed.
	beforeEnd func()
	// tell, if not nil, tells the client that the body has broken off with err, and
	// reports whether it could: the body then ends as if it were whole.
	tell func(err error) bool

	// mu guards what follows.
	mu         sync.Mutex
	boundaries boundary.Scanner
	// messages are the boundaries of a gRPC answer, else nil.
	messages *boundary.Messages
	closing  bool
	endTold  bool // its reader has been told of the end
	// trailersAfter is the number of messages behind which the trailers of a gRPC answer were
	// last waited for, callEnding how far that has come, and callEndTimer ends it; it is nil
	// until then.
	trailersAfter int
	callEnding    callEnding
	callEndTimer  *time.Timer
}

// callEnd is the time that an answer of at most one message has to come to an end of
// its own on a boundary, where it would be closed. Nobody can tell a call that has been
// answered from a stream that has begun, but by what follows: the trailers of the one
// come at once. (A server that sends the header of such an answer long before its
// message is taken for one that streams.)
const callEnd = 250 * time.Millisecond

// newEventStream returns the body of a text/event-stream. A client reconnects with
// the id of the last event that it has.
func newEventStream(resp *http.Response) *streamBody {
	s := &streamBody{body: resp.Body, boundaries: &boundary.Events{}}
	if resp.Header.Get("Content-Encoding") != "" {
		s.boundaries = boundary.Anywhere{}
	}
	return s
}

// newMessageStream returns the body of a gRPC answer. A client that is told
// UNAVAILABLE may try again, elsewhere.
func newMessageStream(resp *http.Response) *streamBody {
	messages := new(boundary.Messages)
	return &streamBody{body: resp.Body, boundaries: messages, messages: messages, beforeEnd: func() {
		resp.Trailer = callTrailer(grpcUnavailable, boundary.CloseReason)
	}}
}

func (s *streamBody) Read(p []byte) (int, error) {
	if s.ended() {
		return s.finish(0)
	}
	n, err := s.body.Read(p)
	s.mu.Lock()
	betweenMessages := s.boundaries.AtBoundary()
	end := s.boundaries.Scan(p[:n])
	over := s.closing && (end > 0 || betweenMessages) && !(n > 0 && s.mayBeCall(end == n))
	s.mu.Unlock()
	if over && err != io.EOF {
		// What follows the boundary is the beginning of a message that the client
		// would never see the end of.
		return s.finish(end)
	}
	if err != nil && err != io.EOF && s.tell != nil && s.tell(err) {
		return n, io.EOF
	}
	return n, err
}

// finish ends the body behind the first n bytes of what was read.
func (s *streamBody) finish(n int) (int, error) {
	if s.beforeEnd != nil && !s.endTold {
		s.beforeEnd()
	}
	s.endTold = true
	return n, io.EOF
}

func (s *streamBody) Close() error {
	s.mu.Lock()
	if s.callEndTimer != nil {
		s.callEndTimer.Stop()
	}
	s.mu.Unlock()
	return s.body.Close()
}

// ended reports whether s is to end here.
func (s *streamBody) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing && s.boundaries.AtBoundary() && !s.awaitsTrailers()
}

// mayBeCall reports whether what has been read so far may be the answer to a call, or
// its beginning, and not that to a stream. s.mu is held.
func (s *streamBody) mayBeCall(onBoundary bool) bool {
	return s.messages != nil && (s.messages.Passed == 0 || s.messages.Passed == 1 && onBoundary)
}

// awaitsTrailers reports whether s, which is to end on a boundary, has time yet to do so
// of its own. s.mu is held.
func (s *streamBody) awaitsTrailers() bool {
	if !s.mayBeCall(true) {
		return false
	}
	if passed := s.messages.Passed; s.callEnding == callUnasked || s.trailersAfter != passed {
		if s.callEndTimer != nil {
			s.callEndTimer.Stop()
		}
		s.trailersAfter, s.callEnding = passed, s.callEnding.after(callAtBoundary)
		s.callEndTimer = time.AfterFunc(callEnd, func() {
			s.mu.Lock()
			if s.trailersAfter == passed {
				s.callEnding = s.callEnding.after(callTimeOver)
			}
			s.mu.Unlock()
			if s.ended() {
				s.abort()
			}
		})
	}
	return s.callEnding != callOverdue
}

func (s *streamBody) closePolitely() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	if s.ended() {
		s.abort()
	}
}

// clientTold implements streamCloser. The end of the answer needs no reply.
func (*streamBody) clientTold() bool { return false }

// maybeUnary implements streamCloser: the first message is on its way.
func (s *streamBody) maybeUnary() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayBeCall(false) && !s.messages.AtBoundary()
}

func (s *streamBody) cut() { s.abort() }
