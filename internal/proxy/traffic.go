package proxy

import (
	"errors"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// count counts a request that is answered with status and is not forwarded to r, and fills
// in its record.
func (r *release) count(in *http.Request, status int, client forward.Sender) {
	r.Measure(in, status, time.Since(client.Began))
	if client.Record != nil {
		*client.Record = r.Record()
	}
}

// fail counts a request for r that is not forwarded, and returns err with whose it was.
func (r *release) fail(err error, in *http.Request, client forward.Sender) error {
	if errors.Is(err, errHealthCheck) {
		r.count(in, http.StatusOK, client)
		return err
	}
	err = r.Fail(err, client)
	r.count(in, StatusOf(err), client)
	return err
}
