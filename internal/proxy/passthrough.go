package proxy

import (
	"net/http"

	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/passthrough"
)

// Begun is what has been begun of a request that was to be passed through, and has to go on as an ordinary
// one.
type Begun struct {
	release *release
	begun   *forward.Begun
}

// PassThrough passes a request through to the release that serves it, if that is all that there is to do.
// It returns false and nil if it has done nothing. If it returns a Begun, [Engine.ServeBegun] goes on with the
// request.
func (e *Engine) PassThrough(in *passthrough.Request) (answered bool, begun *Begun) {
	t := e.table.Load()
	c, prefix := t.lookup(in.Host, in.Path)
	if c == nil || prefix != "/" {
		return false, nil
	}
	if in.TLS != nil && in.TLS.ServerName != "" && in.TLS.ServerName != in.Host {
		if named, _ := t.lookup(in.TLS.ServerName, in.Path); named != c {
			return false, nil
		}
	}
	l := c.lineup.Load()
	r := l.active
	if !l.passesThrough() || !r.passesThrough(in.TLS != nil) || !r.Acquire() {
		return false, nil
	}
	if c.lineup.Load() != l { // its requests may be held by now
		r.Done()
		return false, nil
	}
	answered, b := r.PassThrough(in)
	switch {
	case answered:
		r.Served.Add(1)
		return true, nil
	case b != nil:
		r.Served.Add(1)
		return false, &Begun{r, b}
	}
	r.Done()
	return false, nil
}

// passesThrough reports whether a request gets to the active release of l whoever sends it.
func (l *lineup) passesThrough() bool {
	return l.hold == nil && l.candidate == nil && l.linkKey == nil
}

// passesThrough reports whether nothing that r was deployed with needs more of a request than that it is
// passed on.
func (r *release) passesThrough(byTLS bool) bool {
	o := &r.Spec.Options
	return r.handlers == nil && r.clients == nil && o.CanonicalHost == "" && (o.TLS == nil || byTLS) && r.PassesThrough()
}

// ServeBegun is [Engine.ServeHTTP] for a request that PassThrough has begun with.
func (e *Engine) ServeBegun(w http.ResponseWriter, r *http.Request, begun *Begun, client forward.Sender) error {
	client.Began, client.Begun = begun.begun.At, begun.begun
	v := visitor{in: r, client: client, arrived: client.Began}
	return e.carry(&v, w, r, begun.release, "/")
}
