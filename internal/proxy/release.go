package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// drainingBit is set in Release.requests once the release takes no new ones.
const drainingBit = 1 << 62

// Release is one immutable, numbered set of targets and options of a service,
// together with the traffic it has at the moment.
type Release struct {
	service    string
	version    int
	deployedAt time.Time
	hosts      []string
	routes     []api.Route
	options    api.Options
	// keyPair is the certificate of the service's own; nil without one.
	keyPair *keyPair
	// certified says that there were certificates for all hosts before r took traffic, or
	// have been since.
	certified atomic.Bool

	upstreams []*upstream
	// turn counts the requests that were spread by turns.
	turn atomic.Uint64
	// plain says that no target is reached by the standard library's transport.
	plain bool

	// requests counts the requests in flight and carries drainingBit, so that
	// one atomic add both counts a request and learns whether it may go on.
	requests atomic.Int64
	// served counts the requests that it was ever to serve.
	served atomic.Int64

	// streamsMu guards streams and closeStreamsAt.
	streamsMu sync.Mutex
	streams   map[*stream]struct{}
	// closeStreamsAt is when a stream that begins during the drain is closed.
	closeStreamsAt time.Time

	// changed is signalled when the last request or a stream of a draining
	// release ends.
	changed chan struct{}
	// drained is closed when the drain has ended.
	drained chan struct{}

	// alive ends when the release is retired: its connections are closed and
	// dials that are under way are abandoned.
	alive ending
	// uncut ends when the drain timeout is over: requests in flight are cut.
	uncut ending
}

// newRelease returns a release that has no traffic yet. It opens nothing.
func (e *Engine) newRelease(s api.Spec, version int, deployedAt time.Time) *Release {
	r := &Release{
		service:    s.Service,
		version:    version,
		deployedAt: deployedAt,
		hosts:      s.Hosts,
		routes:     s.Routes,
		options:    s.Options,
		changed:    make(chan struct{}, 1),
		drained:    make(chan struct{}),
	}
	if t := s.Options.TLS; t != nil && t.OwnFiles() {
		r.keyPair = newKeyPair(t, s.Hosts)
	}
	r.plain = true
	for _, t := range s.Targets {
		r.plain = r.plain && t.Scheme == "http"
		r.upstreams = append(r.upstreams, newUpstream(t, r, e.opts))
	}
	return r
}

// acquire counts a request on r. It returns false if r is draining: the caller
// then looks the route up again, since the table already has r's successor.
func (r *Release) acquire() bool {
	if r.requests.Add(1)&drainingBit != 0 {
		r.done()
		return false
	}
	return true
}

// done ends a request that acquire counted.
func (r *Release) done() {
	if r.requests.Add(-1) == drainingBit {
		r.signal()
	}
}

// draining reports whether r takes no new requests.
func (r *Release) draining() bool { return r.requests.Load()&drainingBit != 0 }

// inFlight returns the number of requests in flight, streams not included.
func (r *Release) inFlight() int { return int(r.requests.Load() &^ drainingBit) }

// signal wakes the drain, if there is one, to look at the counts again.
func (r *Release) signal() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// addStream registers s. The caller still holds its request, so that a drain
// sees the request or the stream at any time, never neither.
func (r *Release) addStream(s *stream) {
	r.streamsMu.Lock()
	if r.streams == nil { // most releases never have any
		r.streams = make(map[*stream]struct{})
	}
	r.streams[s] = struct{}{}
	closeAt := r.closeStreamsAt
	r.streamsMu.Unlock()
	if !closeAt.IsZero() {
		s.closeAfter(time.Until(closeAt))
	}
}

func (r *Release) removeStream(s *stream) {
	r.streamsMu.Lock()
	delete(r.streams, s)
	r.streamsMu.Unlock()
	s.stop()
	r.signal()
}

// openStreams returns the streams that are open, in no order.
func (r *Release) openStreams() []*stream {
	r.streamsMu.Lock()
	defer r.streamsMu.Unlock()
	all := make([]*stream, 0, len(r.streams))
	for s := range r.streams {
		all = append(all, s)
	}
	return all
}

func (r *Release) streamCount() int {
	r.streamsMu.Lock()
	defer r.streamsMu.Unlock()
	return len(r.streams)
}

// targets returns the addresses of r's targets.
func (r *Release) targets() []string {
	names := make([]string, len(r.upstreams))
	for i, u := range r.upstreams {
		names[i] = u.target.String()
	}
	return names
}

// startMonitor begins to watch the health of r's targets.
// The first probe comes after delay.
func (r *Release) startMonitor(e *Engine, delay time.Duration) {
	for _, u := range r.upstreams {
		u.monitor.start(e, r, u, delay)
	}
}

// stopMonitor ends the watch. When it returns, no probe of r is under way.
func (r *Release) stopMonitor() {
	for _, u := range r.upstreams {
		u.monitor.stop()
	}
}

// close gives up everything that r holds.
func (r *Release) close() {
	r.stopMonitor()
	r.uncut.end()
	r.alive.end()
	for _, u := range r.upstreams {
		u.transport.Close()
	}
}
