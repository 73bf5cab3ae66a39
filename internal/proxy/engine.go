package proxy

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// Engine is the table of services and everything that happens to it. Its zero
// value is not usable; call [NewEngine].
type Engine struct {
	opts   EngineOptions
	store  atomic.Pointer[Store]
	logger atomic.Pointer[zap.Logger]
	table  atomic.Pointer[table]
	// forwarder makes the releases.
	forwarder *forward.Forwarder

	// mu guards what follows. See the package comment for what may be done
	// while it is held.
	mu       sync.Mutex
	services map[string]*service
	// owners knows who holds which route: active claims and the claims of
	// deployments that are under way.
	owners      map[api.Route]*owner
	deployments *deploymentLog
	feed        *feed
	// unsettled are what the start has found out of take-overs, and has still to store.
	unsettled []takeover
	started   bool
	stopping  bool
	// following says that another process decides about the services.
	following bool
	// operations counts deployments and removals.
	operations sync.WaitGroup
	// stopped is closed when the engine stops.
	stopped chan struct{}
	// retired says that active releases may be draining without a successor.
	retired atomic.Bool

	outcomes deploymentCounters
	// askPause is defaultAskPause; tests have less time.
	askPause time.Duration
	// permissionTimeout is defaultPermissionTimeout; a test on a busy machine has more.
	permissionTimeout time.Duration

	// certifyingMu makes one step of looking at the table and telling the certifier.
	certifyingMu sync.Mutex
	defaultSite  atomic.Pointer[defaultSite]
	permissions  permissionCache
}

// NewEngine returns an engine with no services.
func NewEngine(opts EngineOptions) *Engine {
	e := &Engine{
		opts:        opts.withDefaults(),
		services:    make(map[string]*service),
		owners:      make(map[api.Route]*owner),
		deployments: newDeploymentLog(),
		feed:        newFeed(),
		stopped:     make(chan struct{}),
		askPause:    defaultAskPause,

		permissionTimeout: defaultPermissionTimeout,
	}
	e.forwarder = forward.NewForwarder(forward.Options{
		UserAgent: e.opts.UserAgent, Resolver: e.opts.Resolver, HealthChanged: e.logHealth, LookupFailing: e.logLookup,
	})
	e.Attach(e.opts.Store, e.opts.Logger)
	e.table.Store(newTable(nil))
	return e
}

// Attach replaces the store and the logger: a new configuration of the host
// brings new handles on the same storage, and may log to another place.
func (e *Engine) Attach(s Store, logger *zap.Logger) {
	e.store.Store(&s)
	e.logger.Store(logger)
}

func (e *Engine) log() *zap.Logger { return e.logger.Load() }

func (e *Engine) currentStore() Store { return *e.store.Load() }

// startTurn is the time between the first probes of two releases after a start. If ten
// thousand were due at once, ten thousand goroutines would wait for each other, and the
// runtime never gives back what it has made for them.
const startTurn = time.Millisecond

// Start begins to watch the health of the services that were loaded. Calls after
// the first do nothing.
func (e *Engine) Start() {
	e.mu.Lock()
	if e.started || e.stopping {
		e.mu.Unlock()
		return
	}
	e.started = true
	var lineups []*lineup
	for _, s := range e.services {
		if l := s.lineup(); l != nil {
			lineups = append(lineups, l)
		}
	}
	follows := e.following
	e.mu.Unlock()
	if !follows {
		e.storeSettled()
		e.runRollouts()
	}
	turn := time.Duration(0)
	for _, l := range lineups {
		for _, r := range l.releases() {
			r.StartMonitor(turn)
			turn += startTurn
		}
		e.keepCertificates(l.active)
	}
	go e.sampleOutcomes()
}

// isLoop reports whether r, which is for the service owner, is a probe of a service that
// gets it back: of owner, or of one that a deployment gives the request's host and path.
// Probes of others may come through owner.
func (e *Engine) isLoop(r *http.Request, owner string, byName bool) bool {
	prober, ours := e.forwarder.ProbedService(r)
	switch {
	case !ours:
		return false
	case prober == owner:
		return true
	case byName: // which no deployment changes
		return false
	}
	e.mu.Lock()
	var wanted []api.Route
	if s := e.services[prober]; s != nil {
		for _, d := range s.deployments {
			wanted = append(wanted, d.spec.Routes...)
		}
	}
	e.mu.Unlock()
	if len(wanted) == 0 {
		return false
	}
	c := &claim{service: prober, routes: wanted}
	found, _ := e.table.Load().with(c).lookup(r.Host, matchPath(r.URL))
	return found == c
}

// ServeHTTP forwards a request to the release that serves it, which is that of
// the named service, or of the one that claims the request's host and path if
// service is empty. When it returns one of the request errors of this package,
// nothing has been written to w. An answer that breaks off half-way ends in a panic
// with [http.ErrAbortHandler].
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request, service string, client forward.Sender) error {
	if client.Began.IsZero() {
		client.Began = time.Now()
	}
	v := visit{in: r, client: client}
	for {
		release, prefix, err := e.acquire(&v, service)
		if err == nil && e.isLoop(r, release.Spec.Service, service != "") {
			release.Done()
			err = release.fail(ErrLoop, r, client)
		}
		switch link, linked := errors.AsType[linkError](err); {
		case errors.Is(err, errHealthCheck):
			writeHealthy(w)
			return nil
		case linked:
			v.tell(w)
			link.write(w)
			return nil
		case err != nil:
			forward.DiscardBody(r)
			return err
		}
		release.Served.Add(1)
		if location := e.redirect(release, r, client); location != "" {
			release.Done()
			forward.DiscardBody(r)
			status := writeRedirect(w, r, location)
			release.count(r, status, client)
			return nil
		}
		v.tell(w)
		client.Waited = v.hasWaited
		err = release.Forward(w, r, prefix, client)
		switch {
		case errors.Is(err, forward.ErrMoved):
		case errors.Is(err, forward.ErrBrokenOff):
			if c := e.log().Check(zap.DebugLevel, "an answer broke off"); c != nil {
				c.Write(append(LogFields(err), zap.String("host", r.Host), zap.String("uri", r.RequestURI))...)
			}
			if forward.ClientTold(err) {
				return nil
			}
			// Whatever else the server did would make it look complete.
			panic(http.ErrAbortHandler)
		default:
			return err
		}
	}
}

// acquire counts the request on the release that serves it, once it is not held any more.
func (e *Engine) acquire(v *visit, service string) (*release, string, error) {
	path := matchPath(v.in.URL)
	for {
		c, prefix, err := e.route(v.in, path, service)
		if err != nil {
			return nil, "", err
		}
		l := c.lineup.Load()
		if to := v.followsLink(l); to != "" && e.redirect(l.active, v.in, v.client) == "" {
			l.active.count(v.in, http.StatusFound, v.client)
			return nil, "", linkError{to}
		}
		if l.hold != nil && !v.served(l) && e.redirect(l.active, v.in, v.client) == "" {
			err := errHealthCheck
			switch {
			case e.isLoop(v.in, l.active.Spec.Service, service != ""):
				err = ErrLoop
			case !v.isHealthCheck(l.active):
				err = v.wait(l.hold, e.stopped)
			}
			if err != nil {
				return nil, "", l.active.fail(err, v.in, v.client)
			}
			continue
		}
		v.spread()
		// If the release is draining, its successor is in the table already, or
		// the service is gone from it. If the line-up has changed, its requests may be
		// held by now.
		if r := l.pick(v); r.Acquire() {
			if c.lineup.Load() == l {
				return r, prefix, nil
			}
			r.Done()
			continue
		}
		if e.retired.Load() {
			return nil, "", ErrRetired
		}
	}
}

func (e *Engine) route(r *http.Request, path, service string) (*claim, string, error) {
	t := e.table.Load()
	if service != "" {
		c := t.named[service]
		if c == nil {
			return nil, "", ErrNoRoute
		}
		_, prefix := c.prefixes.lookup(path)
		return c, cmp.Or(prefix, "/"), nil
	}
	c, prefix := t.lookup(r.Host, path)
	if c == nil {
		return nil, "", ErrNoRoute
	}
	// A connection is reused for every host that its certificate covers
	// (RFC 9113, section 9.1.1), so another host alone is no reason to refuse;
	// another service is.
	if r.TLS != nil && r.TLS.ServerName != "" {
		if named, _ := t.lookup(r.TLS.ServerName, path); named != c {
			return nil, "", ErrMisdirected
		}
	}
	return c, prefix, nil
}

// Upstreams returns the addresses of the healthy targets of the release that
// serves the named service and counts a request on it, until ctx ends. It is for
// hosts that forward requests themselves.
func (e *Engine) Upstreams(ctx context.Context, service string) ([]api.Target, error) {
	release, err := e.acquireNamed(service)
	if err != nil {
		return nil, err
	}
	release.Served.Add(1)
	context.AfterFunc(ctx, release.Done)
	return release.UsableTargets(), nil
}

// acquireNamed counts something on the release that serves the named service.
func (e *Engine) acquireNamed(service string) (*release, error) {
	for {
		c := e.table.Load().named[service]
		if c == nil {
			return nil, ErrNoRoute
		}
		l := c.lineup.Load()
		if l.hold != nil {
			return nil, ErrStopped // as far as whoever forwards by itself is concerned
		}
		r := l.active
		if l.candidate != nil && rand.Uint32N(uint32(api.Whole)) < uint32(l.candidate.weight) {
			r = l.candidate.release // nothing is known of the client
		}
		if r.Acquire() {
			if c.lineup.Load() == l {
				return r, nil
			}
			r.Done()
			continue
		}
		if e.retired.Load() {
			return nil, ErrRetired
		}
	}
}

// logHealth logs that the health of a target of r has changed.
func (e *Engine) logHealth(r *forward.Release, target api.Target, health api.Health, reason string) {
	e.feed.publish(api.Event{
		Kind: api.EventHealthChanged, Service: r.Spec.Service, Release: r.Version, Target: target.String(), Health: health, Reason: reason,
	})
	fields := []zap.Field{zap.String("service", r.Spec.Service), zap.Int("release", r.Version), zap.Stringer("target", target)}
	if health == api.HealthFailing {
		e.log().Warn("target is failing its health check", append(fields, zap.String("reason", reason))...)
		return
	}
	e.log().Info("target is healthy", fields...)
}

// logLookup logs that the name of a target of r cannot be looked up, or can be again.
func (e *Engine) logLookup(r *forward.Release, target api.Target, last netip.Addr, err error) {
	fields := []zap.Field{zap.String("service", r.Spec.Service), zap.Int("release", r.Version), zap.Stringer("target", target)}
	if err != nil {
		e.log().Warn("the target's name cannot be looked up: its last good address is used", append(fields,
			zap.Stringer("address", last), zap.String("reason", forward.DialReason(err)))...)
		return
	}
	e.log().Info("the target's name resolves again", fields...)
}

// sortedNames returns the names of all services. Engine.mu must be held.
func (e *Engine) sortedNames() []string {
	return slices.SortedFunc(maps.Keys(e.services), strings.Compare)
}
