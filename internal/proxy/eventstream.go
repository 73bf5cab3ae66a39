package proxy

import (
	"io"
	"sync"
)

// eventStream is the body of a text/event-stream response. When it is closed
// politely it ends between two events, with a proper end of the response, so
// that the client reconnects with the id of the last event it has.
type eventStream struct {
	body io.ReadCloser
	// abort interrupts a Read of body that is waiting.
	abort func()

	// mu guards what follows.
	mu      sync.Mutex
	borders borderScanner
	closing bool
}

func (s *eventStream) Read(p []byte) (int, error) {
	if s.ended() {
		return 0, io.EOF
	}
	n, err := s.body.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	betweenEvents := s.borders.atBorder()
	border := s.borders.scan(p[:n])
	if s.closing && (border > 0 || betweenEvents) {
		// What follows the border is the beginning of an event that the client
		// would never see the end of.
		return border, io.EOF
	}
	return n, err
}

func (s *eventStream) Close() error { return s.body.Close() }

func (s *eventStream) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing && s.borders.atBorder()
}

func (s *eventStream) closePolitely() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	if s.ended() {
		s.abort()
	}
}

func (s *eventStream) cut() { s.abort() }

// eventBorders finds the ends of events: blank lines, with any of the three line
// ends that the format allows (HTML standard, section 9.2.5, "Parsing an event
// stream").
type eventBorders struct {
	// inLine says that the current line has a character in it, inEvent that an
	// event has begun and not ended, afterCR that a line feed would belong to
	// the line end before it.
	inLine, inEvent, afterCR bool
}

func (e *eventBorders) atBorder() bool { return !e.inEvent }

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
			e.inLine, e.inEvent, e.afterCR = true, true, false
		}
		if !e.inEvent {
			last = i + 1
		}
	}
	return last
}

// anyBorder is for streams whose bytes cannot be understood, such as compressed
// ones: they end where the target flushed them.
type anyBorder struct{}

func (anyBorder) atBorder() bool    { return true }
func (anyBorder) scan(b []byte) int { return len(b) }
