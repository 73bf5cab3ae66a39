package proxy

import (
	"io"
	"net/http"
)

// answerWriter is the writer of a client that notes with which status it is answered.
type answerWriter struct {
	http.ResponseWriter
	// status is 0 as long as no answer has begun.
	status int
}

// begun reports whether an answer has begun.
func (a *answerWriter) begun() bool { return a.status != 0 }

func (a *answerWriter) statusOr(other int) int {
	if a.status == 0 {
		return other
	}
	return a.status
}

func (a *answerWriter) begin(status int) {
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
}

// WriteHeader implements [http.ResponseWriter].
func (a *answerWriter) WriteHeader(status int) {
	a.begin(status)
	a.ResponseWriter.WriteHeader(status)
}

func (a *answerWriter) Write(p []byte) (int, error) {
	a.begin(http.StatusOK)
	return a.ResponseWriter.Write(p)
}

// ReadFrom implements [io.ReaderFrom]: without it, large bodies would be copied.
func (a *answerWriter) ReadFrom(r io.Reader) (int64, error) {
	a.begin(http.StatusOK)
	return io.Copy(a.ResponseWriter, r)
}

// FlushError is what [http.ResponseController] calls.
func (a *answerWriter) FlushError() error {
	a.begin(http.StatusOK)
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap returns the writer below, for [http.ResponseController].
func (a *answerWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }
