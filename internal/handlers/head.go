package handlers

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The handler encode keeps the head of an answer until its first byte, by which it decides
// whether to compress. A client of an application that is silent for a while would not even get
// the head: a gRPC client that waits for it before it speaks would wait for ever. What the
// proxy flushes is not to wait. encode lets a head pass at once that has the field Incremental
// (RFC 10036). So the writer above encode gives it one when the proxy flushes before there is
// anything to compress, and the one below takes it away again.

const incremental = "Incremental"

// head is the way of the head of an answer through handlers.
type head struct {
	// marked says that the field was put there by us.
	marked bool
}

// lowerWriter is the writer below the handlers.
type lowerWriter struct {
	*caddyhttp.ResponseWriterWrapper
	head *head
}

func (w lowerWriter) WriteHeader(status int) {
	if w.head.marked && status >= 200 {
		delete(w.Header(), incremental)
		w.head.marked = false
	}
	w.ResponseWriter.WriteHeader(status)
}

// upperWriter is the writer above the handlers, for what the proxy writes.
type upperWriter struct {
	http.ResponseWriter
	head *head
	// status is that of an answer of which nothing else is known yet; 0 if there is none.
	status int
}

// WriteHeader keeps the status until it is known whether a body follows at once.
func (w *upperWriter) WriteHeader(status int) {
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.status = status
}

// begin passes on the status.
func (w *upperWriter) begin() {
	if status := w.status; status != 0 {
		w.status = 0
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *upperWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements [io.ReaderFrom]: without it, large bodies would be copied.
func (w *upperWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.ResponseWriter, r)
}

// FlushError is what [http.ResponseController] calls.
func (w *upperWriter) FlushError() error {
	if h := w.Header(); w.status != 0 && h[incremental] == nil {
		h[incremental] = []string{"?1"}
		w.head.marked = true
	}
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap returns the writer below, for [http.ResponseController].
func (w *upperWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
