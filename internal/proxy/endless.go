package proxy

import (
	"encoding/binary"
	"io"
	"net/http"
	"sync"
	"time"
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
	borders borderScanner
	// messages are the borders of a gRPC answer, else nil.
	messages *messageBorders
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
	s := &endlessBody{body: resp.Body, borders: &eventBorders{}}
	if resp.Header.Get("Content-Encoding") != "" {
		s.borders = anyBorder{}
	}
	return s
}

// newMessageStream returns the body of a gRPC answer. A client that is told
// UNAVAILABLE may try again, elsewhere.
func newMessageStream(resp *http.Response) *endlessBody {
	messages := new(messageBorders)
	return &endlessBody{body: resp.Body, borders: messages, messages: messages, farewell: func() {
		resp.Trailer = callTrailer(grpcUnavailable, closeReason)
	}}
}

func (s *endlessBody) Read(p []byte) (int, error) {
	if s.ended() {
		return s.part(0)
	}
	n, err := s.body.Read(p)
	s.mu.Lock()
	betweenMessages := s.borders.atBorder()
	border := s.borders.scan(p[:n])
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
	return s.closing && s.borders.atBorder() && !s.awaitsTrailers()
}

// mayBeCall reports whether what has been read so far may be the answer to a call, or
// its beginning, and not that to a stream. s.mu is held.
func (s *endlessBody) mayBeCall(onBorder bool) bool {
	return s.messages != nil && (s.messages.passed == 0 || s.messages.passed == 1 && onBorder)
}

// awaitsTrailers reports whether s, which is to end on a border, has time yet to do so
// of its own. s.mu is held.
func (s *endlessBody) awaitsTrailers() bool {
	if !s.mayBeCall(true) {
		return false
	}
	if passed := s.messages.passed; s.callEndTimer == nil || s.trailersAfter != passed {
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
	return s.mayBeCall(false) && !s.messages.atBorder()
}

func (s *endlessBody) cut() { s.abort() }

// eventBorders finds the ends of events: blank lines, with any of the three line
// ends that the format allows (HTML standard, section 9.2.5, "Parsing an event
// stream"). A comment, which is a line that begins with a colon and often a sign of
// life, belongs to no event.
type eventBorders struct {
	// inLine says that the current line has a character in it, inEvent that an
	// event has begun and not ended, afterCR that a line feed would belong to
	// the line end before it.
	inLine, inEvent, afterCR bool
}

func (e *eventBorders) atBorder() bool { return !e.inLine && !e.inEvent }

func (e *eventBorders) scan(b []byte) (last int) {
	for i, c := range b {
		switch {
		case c == '\n' && e.afterCR:
			e.afterCR = false
		case c == '\n' || c == '\r':
			e.afterCR = c == '\r'
			if !e.inLine {
				e.inEvent = false
			}
			e.inLine = false
		default:
			e.inEvent = e.inEvent || !e.inLine && c != ':'
			e.inLine, e.afterCR = true, false
		}
		if e.atBorder() {
			last = i + 1
		}
	}
	return last
}

// messageBorders finds the borders between gRPC messages: a byte of flags, four
// bytes of length, and as many bytes (gRPC over HTTP2, "Length-Prefixed-Message").
type messageBorders struct {
	prefix  [5]byte
	have    int    // of prefix
	payload uint32 // what is left of the message
	passed  int    // messages
}

func (m *messageBorders) atBorder() bool { return m.have == 0 && m.payload == 0 }

func (m *messageBorders) scan(b []byte) (last int) {
	for i := 0; i < len(b); {
		if m.payload > 0 {
			skip := min(int(m.payload), len(b)-i)
			m.payload -= uint32(skip)
			i += skip
		} else {
			n := copy(m.prefix[m.have:], b[i:])
			m.have += n
			i += n
			if m.have < len(m.prefix) {
				break
			}
			m.payload, m.have = binary.BigEndian.Uint32(m.prefix[1:]), 0
		}
		if m.payload == 0 {
			last = i
			m.passed++
		}
	}
	return last
}

// anyBorder is for streams whose bytes cannot be understood, such as compressed
// ones: they end where the target flushed them.
type anyBorder struct{}

func (anyBorder) atBorder() bool    { return true }
func (anyBorder) scan(b []byte) int { return len(b) }
