package proxy

import (
	"sync"
	"time"
)

// streamLinger is the time that a stream has, once it is being closed politely,
// to reach a border and to answer the close.
const streamLinger = time.Second

// streamCloser knows how one kind of stream ends.
type streamCloser interface {
	// closePolitely begins to end the stream on its next border. It may wait for
	// a write that is under way, until cut, and may be called more than once.
	closePolitely()
	// cut ends the stream now.
	cut()
}

// stream is an exchange that has no end of its own: an upgraded connection or an
// event stream. A drain does not wait for it; it closes it.
type stream struct {
	closer streamCloser

	// mu guards what follows.
	mu      sync.Mutex
	timer   *time.Timer
	closeAt time.Time // when timer fires
	stopped bool
	cut     bool
}

// closeAfter closes s politely after d.
func (s *stream) closeAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.closeAt = time.Now().Add(max(d, 0))
	s.timer = time.AfterFunc(max(d, 0), s.closer.closePolitely)
}

// cutIfOverdue cuts s, unless it has been cut before, if it was asked to close
// and has had its time for it.
func (s *stream) cutIfOverdue(now time.Time) bool {
	s.mu.Lock()
	overdue := !s.cut && !s.closeAt.IsZero() && now.Sub(s.closeAt) >= streamLinger
	s.cut = s.cut || overdue
	s.mu.Unlock()
	if overdue {
		s.closer.cut()
	}
	return overdue
}

func (s *stream) wasCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// stop forgets a close that is scheduled: the stream has ended.
func (s *stream) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// borderScanner finds the places at which a stream of bytes can be ended
// without tearing something apart.
type borderScanner interface {
	// scan moves over b and returns the offset behind the last border in it, or
	// 0 if it has none.
	scan(b []byte) int
	// atBorder reports whether everything scanned so far ends on a border.
	atBorder() bool
}
