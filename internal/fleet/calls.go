package fleet

import (
	"context"
	"errors"
	"time"
)

// maxCalls is how many calls of a store may be under way. A folder on a network that hangs keeps a thread for
// each call, whatever becomes of its context, and a process may have only so many threads.
const maxCalls = 32

// errBusy means that the store has not answered earlier calls.
var errBusy = errors.New("it has not answered earlier calls, and is not asked again before it does")

// calls are the calls of a store that are under way: each has a place in it.
type calls chan struct{}

func newCalls() calls { return make(calls, maxCalls) }

// settle waits until no call is under way, for at most a time.
func (c calls) settle(timeout time.Duration) {
	late := time.NewTimer(timeout)
	defer late.Stop()
	for range cap(c) {
		select {
		case c <- struct{}{}:
			defer func() { <-c }()
		case <-late.C:
			return
		}
	}
}

// lastWord is the part of the time of a call in which its context has ended, and it may still say why it has not succeeded.
const lastWord = 10

// bounded calls a store, and gives up on it after a time, also if it does not heed its context. That ends a tenth of the time
// before: what the store says of why it was not reached is better than that it was not. What comes of a call that
// was given up goes nowhere: so it is returned, and call must not keep it elsewhere.
func bounded[T any](ctx context.Context, under calls, timeout time.Duration, call func(context.Context) (T, error)) (result T, err error) {
	type outcome struct {
		result T
		err    error
	}
	select {
	case under <- struct{}{}:
	default:
		return result, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	end, _ := ctx.Deadline()
	inTime, cancel := context.WithDeadline(ctx, end.Add(-time.Until(end)/lastWord))
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-under }()
		result, err := call(inTime)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		select {
		case o := <-done:
			return o.result, o.err
		default:
			return result, context.Cause(ctx)
		}
	}
}

// do calls the store for nothing else than an error, for as long as there is patience.
func (a *Agent) do(ctx context.Context, call func(context.Context) error) error {
	_, err := bounded(ctx, a.calls, a.opts.Patience, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}
