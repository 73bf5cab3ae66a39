package forward

import (
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/errorpage"
)

// drainingBit is set in Release.requests once the release takes no new ones.
const drainingBit = 1 << 62

// Release is one immutable, numbered set of targets and options of a service,
// together with the traffic it has at the moment.
type Release struct {
	// Spec is what was deployed. It must not be changed.
	Spec api.Spec
	// Version is the number of the release, and DeployedAt the time of its switch. They
	// are set before the release takes traffic.
	Version    int
	DeployedAt time.Time

	forwarder *Forwarder
	upstreams []*upstream
	// turn counts the requests that were spread by turns.
	turn atomic.Uint64
	// roots are the authorities of api.Options.TargetCA; nil without.
	roots *x509.CertPool
	// pages are those of api.Options.ErrorPages, and intercepted the statuses of
	// api.Options.InterceptErrors; nil without.
	pages       *errorpage.Set
	intercepted api.StatusRanges
	// logged are the fields of api.Options.LogRequestHeaders and LogResponseHeaders; nil without.
	logged *LoggedFields
	// plain says that no target is reached by the standard library's transport.
	plain bool
	// passes says that its requests may be passed through.
	passes bool

	// requests counts the requests in flight and carries drainingBit, so that
	// one atomic add both counts a request and learns whether it may go on.
	requests atomic.Int64
	// Served counts the requests that it was ever to serve.
	Served atomic.Int64
	// Traffic counts what its service carries. It may be replaced before the release takes
	// traffic, by that of the releases before.
	Traffic *Traffic

	// outcomes says how its requests have ended; nil before the first.
	outcomes atomic.Pointer[Outcomes]
	// judge is told of every one of them; nil if nobody is.
	judge atomic.Pointer[func(*http.Request, *Sender, Outcome)]

	// streamsMu guards what follows, up to changed.
	streamsMu sync.Mutex
	streams   map[*stream]struct{}
	// closeStreamsAt is when a stream that begins during the drain is closed.
	closeStreamsAt time.Time
	// changed is signalled when the last request or a stream of a draining
	// release ends. It is nil before somebody waits for that.
	changed chan struct{}

	// replaced ends when r begins to drain.
	replaced endSignal
	// cut ends when the drain timeout is over: requests in flight are cut.
	cut endSignal
	// closing is done once.
	closing sync.Once
	// Closed, if not nil, is called when r is closed. It is set before r takes traffic.
	Closed func()
}

// Acquire counts a request on r. It returns false if r is draining: the caller
// then looks the route up again, since the table already has r's successor.
func (r *Release) Acquire() bool {
	if r.requests.Add(1)&drainingBit != 0 {
		r.Done()
		return false
	}
	return true
}

// StopAcquiring lets no request be counted on r any more.
func (r *Release) StopAcquiring() { r.requests.Or(drainingBit) }

// Done ends a request that acquire counted.
func (r *Release) Done() {
	if r.requests.Add(-1) == drainingBit {
		r.signal()
	}
}

// draining reports whether r takes no new requests.
func (r *Release) draining() bool { return r.requests.Load()&drainingBit != 0 }

// InFlight returns the number of requests in flight, streams not included.
func (r *Release) InFlight() int { return int(r.requests.Load() &^ drainingBit) }

// changes returns what is signalled from now on when the counts are to be looked at again.
func (r *Release) changes() <-chan struct{} {
	r.streamsMu.Lock()
	defer r.streamsMu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{}, 1)
	}
	return r.changed
}

// signal wakes the drain, if there is one, to look at the counts again.
func (r *Release) signal() {
	r.streamsMu.Lock()
	defer r.streamsMu.Unlock()
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

func (r *Release) Streams() int {
	r.streamsMu.Lock()
	defer r.streamsMu.Unlock()
	return len(r.streams)
}

// Targets returns the addresses of all of r's targets.
func (r *Release) Targets() []string {
	names := make([]string, len(r.upstreams))
	for i, u := range r.upstreams {
		names[i] = u.target.String()
	}
	return names
}

// StartMonitor begins to watch the health of r's targets. The first probe comes after
// delay. The watch of a target that r has inherited goes on as it was.
func (r *Release) StartMonitor(delay time.Duration) {
	for _, u := range r.upstreams {
		u.monitor.start(r, u, delay)
	}
}

// StopMonitor ends the watch, but of targets that r's successor has inherited. When it
// returns, no probe of r is under way.
func (r *Release) StopMonitor() {
	for _, u := range r.upstreams {
		u.monitor.stop(r)
	}
}

// Close gives up everything that r holds. What r shares with another release, that one
// goes on with.
func (r *Release) Close() {
	r.closing.Do(func() {
		r.StopMonitor()
		r.cut.end()
		for _, u := range r.upstreams {
			u.letGo()
		}
		if r.Closed != nil {
			r.Closed()
		}
	})
}

// AllFailing reports whether no target of r that gets every request passes its health check.
func (r *Release) AllFailing() bool {
	return !slices.ContainsFunc(r.writers(), func(u *upstream) bool { return !u.failing() })
}

// UsableTargets returns the targets that are not failing, or all if all are; no read targets.
func (r *Release) UsableTargets() []api.Target {
	var targets []api.Target
	for _, u := range r.usable() {
		targets = append(targets, u.target)
	}
	return targets
}

// usable returns the upstreams that are not failing, or all if all are; no read targets.
func (r *Release) usable() []*upstream {
	var usable []*upstream
	for _, u := range r.writers() {
		if !u.failing() {
			usable = append(usable, u)
		}
	}
	if len(usable) == 0 {
		return r.writers()
	}
	return usable
}

// Outcomes returns how the requests of r have ended; nil if there were none.
func (r *Release) Outcomes() *Outcomes { return r.outcomes.Load() }

// Judge has f told of every request of r that tells whether r works, in the goroutine of the
// request; nil tells nobody.
func (r *Release) Judge(f func(in *http.Request, from *Sender, o Outcome)) {
	if f == nil {
		r.judge.Store(nil)
		return
	}
	r.judge.Store(&f)
}

// Fail returns err, for which a request to r is answered without having been forwarded.
func (r *Release) Fail(err error, from Sender) error {
	r.Traffic.noteLarge(err)
	return &Failure{Record: r.Record(), Duration: from.duration(), Err: err, Pages: r.pages}
}
