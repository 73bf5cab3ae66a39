package forward

import (
	"sync"
	"time"
)

// streamLinger is the time that a stream has, once it is being closed politely, to
// reach a boundary, and then again for the client to answer the close.
const streamLinger = time.Second

// lingerTurns are the turns in which a drain counts streamLinger. On a machine that is
// so busy that a turn comes late, the goroutines of the streams come late as well:
// with a clock instead they would be cut for what is not their fault.
const lingerTurns = 10

// streamCloser knows how one kind of stream ends.
type streamCloser interface {
	// closePolitely begins to end the stream on its next boundary. It may wait for
	// a write that is under way, until cut, and may be called more than once.
	closePolitely()
	// clientTold reports whether the client has been told, so that all that is left is
	// for it to answer.
	clientTold() bool
	// maybeUnary reports whether it may be no stream but the answer to a call, which
	// has as much time as other requests.
	maybeUnary() bool
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
	stopped bool
	cut     bool
	// asked says that closer was asked to close, clientTold that it had told the client
	// when the drain last looked at it, turns how often the drain has looked since.
	asked, clientTold bool
	turns             int
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
	s.timer = time.AfterFunc(max(d, 0), func() {
		s.mu.Lock()
		s.asked = true
		s.mu.Unlock()
		s.closer.closePolitely()
	})
}

// cutIfOverdue is a turn of the drain. It cuts s, unless it has been cut before, if
// it was asked to close and has had its turns. late says that the time of requests is
// over.
func (s *stream) cutIfOverdue(late bool) bool {
	parted, answering := s.closer.clientTold(), s.closer.maybeUnary()
	s.mu.Lock()
	if s.clientTold != parted {
		s.clientTold, s.turns = parted, 0
	}
	if s.asked && (late || !answering) {
		s.turns++
	}
	overdue := !s.cut && s.turns >= lingerTurns
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
