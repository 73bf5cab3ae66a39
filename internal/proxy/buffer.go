package proxy

import (
	"net/http"
	"time"
)

// carryBuffered reads the body of a request to its end before it carries it. It gives up release,
// which was acquired for it: whichever release serves when the body is there gets the request. So
// a slow upload holds up no deploy, and is cut by none.
func (e *Engine) carryBuffered(v *visitor, w http.ResponseWriter, r *http.Request, release *release) error {
	release.Served.Add(-1) // it is counted by the one that serves it
	release.Done()
	buffered, err := release.Buffer(w, r)
	if err != nil {
		release.Served.Add(1)
		return release.fail(err, v.in, v.client)
	}
	defer buffered.Close()
	v.arrived = time.Now()
	next, prefix, err := e.enter(v, w, buffered.Request)
	if next == nil {
		return err
	}
	return e.carry(v, w, buffered.Request, next, prefix)
}
