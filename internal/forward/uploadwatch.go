package forward

import (
	"context"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// uploadWatch bounds how long a target may leave a request's body standing before it
// begins its answer. net/http's own time begins only when all of it has been sent. The
// time in which the client has nothing to send does not count.
type uploadWatch struct {
	timeout time.Duration

	// mu guards what follows.
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	overdue bool
}

// newUploadWatch returns a watch that resume begins, and a context that ends when the
// time is over. It is nil if there is no limit.
func newUploadWatch(ctx context.Context, timeout time.Duration) (context.Context, *uploadWatch) {
	if timeout <= 0 {
		return ctx, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	u := &uploadWatch{timeout: timeout}
	u.timer = time.AfterFunc(timeout, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !u.stopped {
			u.overdue = true
			cancel(transport.ErrSlowAnswer)
		}
	})
	u.timer.Stop()
	return ctx, u
}

// pause is called when the target wants more of the body, resume when there is a
// connection to it and when it has been given some.
func (u *uploadWatch) pause() {
	if u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.timer.Stop()
	}
}

func (u *uploadWatch) resume() {
	if u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !u.stopped {
			u.timer.Reset(u.timeout)
		}
	}
}

// stop ends the watch, because there is an answer or a failure, and reports whether the
// time is over.
func (u *uploadWatch) stop() (overdue bool) {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stopped = true
	u.timer.Stop()
	return u.overdue
}
