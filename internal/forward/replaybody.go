package forward

import (
	"context"
	"errors"
	"io"
	"sync"
)

// maxKept is how much of a body is kept for another attempt.
const maxKept = 64 << 10

// replayBody hands the body of a request to net/http's transport. That waits for a read that
// is under way before it tells anybody that the target has gone, and before it looks at
// the context; but the client may have nothing to send at the moment. So here a read
// ends with the attempt to send the request, and the one from the client, which cannot
// be ended without harm to its connection, with the exchange.
//
// The beginning is kept, for a target may refuse a request that it has been sent: one
// that shuts down, or that takes fewer at a time than we could know.
type replayBody struct {
	body *requestBody

	// mu guards what follows.
	mu sync.Mutex
	// changed says that something has been read or that an attempt has ended.
	changed sync.Cond
	// kept is what has been read, without the first gone bytes.
	kept []byte
	gone int64
	// final says that there will be no other attempt, current is the last one.
	final   bool
	current *bodyAttempt
	// filling says that a read from the client is under way, err how the last ended.
	filling bool
	err     error
}

// bodyAttempt is the body as one attempt has it.
type bodyAttempt struct {
	*replayBody
	watch *uploadWatch
	// offset is what has been read, closed that there will be no more; both are
	// guarded by mu.
	offset int64
	closed bool
}

var errNotKept = errors.New("the beginning of the body is not kept any more")

// attempt returns the body for another attempt, which ends with ctx at the latest, and
// ends the one before. watch may be nil.
func (b *requestBody) attempt(ctx context.Context, watch *uploadWatch) *bodyAttempt {
	if b.replay == nil {
		b.replay = &replayBody{body: b}
		b.replay.changed.L = &b.replay.mu
	}
	a := &bodyAttempt{replayBody: b.replay, watch: watch}
	a.mu.Lock()
	if a.current != nil {
		a.current.end()
	}
	a.current = a
	a.mu.Unlock()
	context.AfterFunc(ctx, func() { _ = a.Close() })
	return a
}

// forAnyTransport returns the body as a transport gets it that may not need to send it again.
func (b *requestBody) forAnyTransport(ctx context.Context) io.ReadCloser {
	switch {
	case b.spool != nil:
		return &spooledBody{b.spool.Reader(), b}
	case b.replay == nil:
		return b
	}
	return b.attempt(ctx, nil)
}

// whole reports whether all that has been read can be read again.
func (s *replayBody) whole() bool {
	if s.body.spool != nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone == 0
}

// AtHand is that of the request's body.
func (a *bodyAttempt) AtHand() bool { return a.body.AtHand() }

func (a *bodyAttempt) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.watch.pause()
		defer func() {
			if !a.closed {
				a.watch.resume()
			}
		}()
	}
	for {
		switch {
		case a.closed:
			return 0, errDetached
		case a.body.spool != nil:
			n, err := a.body.spool.ReadAt(p, a.offset)
			a.offset += int64(n)
			return n, err
		case a.offset < a.gone:
			return 0, errNotKept
		case a.offset < a.gone+int64(len(a.kept)):
			n := copy(p, a.kept[a.offset-a.gone:])
			a.offset += int64(n)
			a.forget(a.offset)
			return n, nil
		case a.err != nil:
			return 0, a.err
		}
		if !a.filling {
			a.filling = true
			go a.fill()
		}
		a.changed.Wait()
	}
}

// forget gives up what comes before offset, if there is too much to be kept or no use
// for it.
func (s *replayBody) forget(offset int64) {
	if s.body.spool != nil || !s.final && s.gone == 0 && len(s.kept) <= maxKept {
		return
	}
	s.kept = s.kept[:copy(s.kept, s.kept[offset-s.gone:])]
	s.gone = offset
	if len(s.kept) == 0 && cap(s.kept) > copyBufferSize {
		s.kept = make([]byte, 0, copyBufferSize) // as much as fill reads
	}
}

// keepNoMore is called when there is an answer.
func (s *replayBody) keepNoMore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = true
	if s.current != nil {
		s.forget(s.current.offset)
	}
}

// last returns the last attempt.
func (s *replayBody) last() *bodyAttempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// fill reads from the client.
func (s *replayBody) fill() {
	buf := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(buf)
	n, err := s.body.Read(buf[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, buf[:n]...)
	s.filling, s.err = false, err
	s.changed.Broadcast()
}

// Close ends the attempt.
func (a *bodyAttempt) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end()
	return nil
}

// end is Close with mu held.
func (a *bodyAttempt) end() {
	a.closed = true
	a.changed.Broadcast()
}
