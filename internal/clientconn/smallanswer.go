package clientconn

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// serverBuffer is how much of an answer the server for HTTP/2 keeps before it has to write, in bytes.
const serverBuffer = 4 << 10

// smallAnswer spares the timer of a writer for HTTP/2 what the server keeps until the handler returns, as it does
// with a small answer as a whole. To move a deadline there is a message to the goroutine of the connection, and the
// timer moves it before and after each write.
type smallAnswer struct {
	*caddyhttp.IdleTimeoutWriter
	server http.ResponseWriter
	// room is how much more the server keeps.
	room int
	// kept says that the server may have something to write when the handler returns, of which the timer has
	// not been told.
	kept bool
	// until is the deadline of the handler's own, if it is not zero.
	until time.Time
}

func newSmallAnswer(w *caddyhttp.IdleTimeoutWriter) *smallAnswer {
	return &smallAnswer{IdleTimeoutWriter: w, server: w.ResponseWriter, room: serverBuffer}
}

// Write implements [http.ResponseWriter].
func (a *smallAnswer) Write(p []byte) (int, error) {
	if len(p) > a.room {
		a.room, a.kept = 0, false
		return a.IdleTimeoutWriter.Write(p)
	}
	a.room -= len(p)
	a.kept = true
	return a.server.Write(p)
}

// FlushError is what [http.ResponseController] calls.
func (a *smallAnswer) FlushError() error {
	a.room, a.kept = 0, false
	return a.IdleTimeoutWriter.FlushError()
}

// done bounds what the server writes when the handler has returned, by limit and until, if that is not zero.
func (a *smallAnswer) done(limit time.Duration, until time.Time) {
	a.HandlerDone()
	if !a.kept {
		return
	}
	deadline := time.Now().Add(limit)
	for _, earlier := range []time.Time{until, a.until} {
		if !earlier.IsZero() && earlier.Before(deadline) {
			deadline = earlier
		}
	}
	_ = a.Ctrl.SetWriteDeadline(deadline)
}

// SetWriteDeadline is what [http.ResponseController] calls. The deadline of a handler holds for the end, too.
func (a *smallAnswer) SetWriteDeadline(deadline time.Time) error {
	a.until = deadline
	return a.IdleTimeoutWriter.SetWriteDeadline(deadline)
}
