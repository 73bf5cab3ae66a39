package run

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// maxPendingLog bounds the log that waits to be written, in bytes.
const maxPendingLog = 1 << 20

// Stderr returns the writer of this process to standard error, which never waits for
// the reader. To close it does nothing.
func Stderr() io.WriteCloser {
	stderrLines.start.Do(func() {
		go stderrLines.run()
		caddy.OnExit(func(context.Context) { stderrLines.flush() })
	})
	return nopCloser{stderrLines}
}

// DroppedLogLines returns how many lines of the log have been dropped since the process
// began because standard error was not read.
func DroppedLogLines() int64 { return stderrLines.dropped.Load() }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// stderrLines is the one writer of this process to standard error.
var stderrLines = newLineQueue(os.Stderr)

// flushTimeout bounds each wait for the log's reader when the process exits.
const flushTimeout = 200 * time.Millisecond

// lineQueue passes lines on to a writer that may block.
type lineQueue struct {
	to    io.Writer
	start sync.Once
	// dropped counts the lines that found the queue full.
	dropped atomic.Int64
	// exiting makes Write wait a little, since there will be no later.
	exiting atomic.Bool
	wake    chan struct{}

	// mu guards pending.
	mu      sync.Mutex
	pending []byte
}

func newLineQueue(to io.Writer) *lineQueue {
	return &lineQueue{to: to, wake: make(chan struct{}, 1)}
}

// Write queues a line. It never fails, and it does not block but for a moment
// when the process is exiting.
func (q *lineQueue) Write(line []byte) (int, error) {
	if q.exiting.Load() {
		q.writeSoon(bytes.Clone(line))
		return len(line), nil
	}
	q.mu.Lock()
	if len(q.pending)+len(line) > maxPendingLog {
		q.dropped.Add(1)
	} else {
		q.pending = append(q.pending, line...)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// run writes what is queued, for as long as the process lives.
func (q *lineQueue) run() {
	var reported int64
	for range q.wake {
		_, _ = q.to.Write(q.take())
		if dropped := q.dropped.Load(); dropped > reported {
			caddy.Log().Named("parachute").Warn("log lines were dropped because standard error was not read",
				zap.Int64("lines", dropped-reported))
			reported = dropped
		}
	}
}

func (q *lineQueue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines := q.pending
	q.pending = nil
	return lines
}

// flush writes what is queued, and from here on every line at once.
func (q *lineQueue) flush() {
	q.exiting.Store(true)
	q.writeSoon(q.take())
}

// writeSoon writes lines, but does not wait for ever.
func (q *lineQueue) writeSoon(lines []byte) {
	done := make(chan struct{})
	go func() {
		_, _ = q.to.Write(lines)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(flushTimeout):
	}
}
