package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/parachute-proxy/parachute/internal/http1"
)

// errLargeHead means that a head is larger than the server reads.
var errLargeHead = &http1.Error{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "the head is too large"}

// readError means that a head could not be read to its end.
type readError struct{ error }

// refuse answers what is no request that can be served. The connection ends then.
func (c *conn) refuse(err error) {
	var refusal *http1.Error
	switch broken := (readError{}); {
	case errors.As(err, &refusal):
	case errors.As(err, &broken):
		if _, is := errors.AsType[net.Error](broken.error); is {
			return // the connection broke, or its time was over: net/http answers neither
		}
		refusal = &http1.Error{Status: http.StatusBadRequest, Reason: "the head has no end"}
	default:
		refusal = &http1.Error{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	c.server.logf("http: refused a request from %s: %s", c.remote, refusal.Reason)
	text := fmt.Sprintf("%d %s", refusal.Status, http.StatusText(refusal.Status))
	_ = c.write([]byte("HTTP/1.1 " + text + "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + text))
	c.linger()
}
