package forward

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// dialTimeout bounds how long a connection to a target may take to come about.
	dialTimeout = 5 * time.Second
	// redialAfter is the pause between two attempts of one dial. The target may be at
	// another address by then, which only a fresh look-up of its name shows. An attempt
	// that has begun goes on beside the next: what takes longer than this on a slow
	// network comes about as well.
	redialAfter = time.Second
	// moveAfter is how long a request for a release that has been replaced waits for a connection. What takes longer hardly
	// comes about, and the next release may answer.
	moveAfter = 250 * time.Millisecond
)

// dialed is the outcome of one attempt.
type dialed struct {
	conn  net.Conn
	err   error
	began time.Time
}

// heldUntil is the key of the end of the hold, a [time.Time], in the context of a request
// that is held.
type heldUntil struct{}

// timeout returns how long the dial may take: when a request is held, no longer than
// that, but for one attempt.
func (d *targetDialer) timeout(ctx context.Context) time.Duration {
	if until, held := ctx.Value(heldUntil{}).(time.Time); held {
		return min(dialTimeout, max(time.Until(until), redialAfter))
	}
	return dialTimeout
}

// dial opens a connection. It begins an attempt every second, and the first that
// succeeds is taken. If the newest is refused, the others, which began when the target was
// perhaps elsewhere, are given up.
func (d *targetDialer) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout(ctx))
	defer cancel()
	stop := d.upstream.alive.AfterFunc(cancel)
	defer stop()
	var isReplaced atomic.Bool
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		latest := time.Now().Add(moveAfter)
		stop := x.release.replaced.AfterFunc(func() {
			if sleep(ctx, time.Until(latest)) {
				isReplaced.Store(true)
				cancel()
			}
		})
		defer stop()
	}

	outcomes := make(chan dialed, 1)
	running, newest := 0, time.Time{}
	begin := func() {
		running, newest = running+1, time.Now()
		began := newest
		go func() {
			conn, err := d.attempt(ctx)
			outcomes <- dialed{conn, err, began}
		}()
	}
	defer func() {
		cancel()
		for ; running > 0; running-- {
			if late := <-outcomes; late.conn != nil {
				_ = late.conn.Close()
			}
		}
	}()
	begin()
	again := time.NewTicker(redialAfter)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if ctx.Err() == nil {
				begin()
			}
		case o := <-outcomes:
			running--
			if o.err == nil {
				return o.conn, nil
			}
			if running == 0 || o.began.Equal(newest) && !isTimeout(o.err) && !isLookupOutage(o.err) {
				switch {
				case d.upstream.alive.Err() != nil:
					o.err = fmt.Errorf("%w: %w", errRetired, o.err)
				case isReplaced.Load():
					o.err = fmt.Errorf("%w: %w", ErrMoved, o.err)
				}
				return nil, &dialError{fmt.Errorf("connecting to %s: %w", d.target, o.err), o.began}
			}
		}
	}
}

// dialer returns what connects to the target for its traffic.
func (u *upstream) dialer() *targetDialer { return &targetDialer{upstream: u, target: u.target} }

// probeDialer returns what connects to the target, or to another port of it, for requests of
// the proxy's own.
func (u *upstream) probeDialer(t api.Target) *targetDialer {
	return &targetDialer{upstream: u, target: t, watches: true}
}

// dial opens a connection for the traffic of the target.
func (u *upstream) dial(ctx context.Context) (net.Conn, error) { return u.dialer().dial(ctx) }
