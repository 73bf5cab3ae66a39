package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// patience is how long a target may keep an exchange waiting before the context
// of the exchange is watched. Watching costs more than all else about a quick
// exchange, and a client that goes away meanwhile is still noticed soon.
const patience = 80 * time.Millisecond

var longAgo, noDeadline = time.Unix(1, 0), time.Time{}

// watch ends the waiting of an exchange: when its context is over, or when the
// target has had its time to begin the answer. It works by the deadlines of the
// connection.
type watch struct {
	nc net.Conn
	// patientUntil is the read deadline that stands for patience. It is set anew
	// when half of it is over and not for every exchange.
	patientUntil time.Time
	// unhook ends the watch of the context; nil as long as there is none.
	unhook func() bool

	// mu guards what follows.
	mu sync.Mutex
	// armed says that the deadlines are those of the exchange, and not patience.
	armed bool
	// over says that the context is over: the deadlines have to stay.
	over bool
	// answered says that the answer has begun, answerBy when it has to have; zero
	// if it may take as long as it likes.
	answered bool
	answerBy time.Time
}

// errInterrupted is what waiting ends with that interrupt ended.
var errInterrupted = errors.New("the exchange was interrupted")

// begin begins an exchange that has to be answered within limit, if that is not 0.
func (w *watch) begin(now time.Time, limit time.Duration) {
	wait := patience
	w.answered, w.answerBy = false, time.Time{}
	if limit > 0 {
		wait = min(wait, limit)
		w.answerBy = now.Add(limit)
	}
	if w.patientUntil.Sub(now) < wait/2 {
		w.patientUntil = now.Add(wait)
		_ = w.nc.SetReadDeadline(w.patientUntil)
	}
}

// losePatience is called when a deadline has passed. An error means that the
// exchange is over.
func (w *watch) losePatience(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if w.unhook == nil {
		w.arm(ctx)
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
		return errInterrupted
	case !w.answerBy.IsZero() && !time.Now().Before(w.answerBy):
		return ErrSlowAnswer
	}
	return nil
}

// arm begins to watch ctx.
func (w *watch) arm(ctx context.Context) {
	if w.unhook != nil {
		return
	}
	w.mu.Lock()
	w.armed = true
	w.moveDeadline()
	w.mu.Unlock()
	w.unhook = context.AfterFunc(ctx, w.interrupt)
}

// interrupt ends all waiting.
func (w *watch) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	_ = w.nc.SetDeadline(longAgo)
}

// answerWithin gives the target the time d from now on to begin its answer, or
// all the time it likes if d is 0.
func (w *watch) answerWithin(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answered {
		return
	}
	w.answerBy = time.Time{}
	if d > 0 {
		w.answerBy = time.Now().Add(d)
	}
	w.moveDeadline()
}

// answerBegan ends the time limit.
func (w *watch) answerBegan() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered, w.answerBy = true, time.Time{}
	w.moveDeadline()
}

// moveDeadline makes answerBy the deadline. mu must be held.
func (w *watch) moveDeadline() {
	if w.armed && !w.over {
		_ = w.nc.SetReadDeadline(w.answerBy)
	}
}

// takeWithin gives the target the time d for the next write, or no limit if d is 0.
func (w *watch) takeWithin(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case d > 0:
		_ = w.nc.SetWriteDeadline(time.Now().Add(d))
	default:
		_ = w.nc.SetWriteDeadline(time.Time{})
	}
}

// end ends the watch and reports whether the connection is none the worse for it.
func (w *watch) end() bool {
	if w.unhook == nil {
		return true
	}
	stopped := w.unhook()
	w.unhook = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	w.patientUntil = time.Time{} // the deadline is another by now
	_ = w.nc.SetWriteDeadline(time.Time{})
	return stopped && !w.over
}
