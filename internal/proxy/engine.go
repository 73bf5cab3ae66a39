package proxy

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// maxParallelProbes bounds the probes of running releases that are under way at
// a time. Deployments do not share it.
const maxParallelProbes = 64

// Engine is the table of services and everything that happens to it. Its zero
// value is not usable; call [NewEngine].
type Engine struct {
	opts  EngineOptions
	store atomic.Pointer[Store]
	table atomic.Pointer[table]
	// probeSlots bounds parallel probes.
	probeSlots chan struct{}

	// mu guards what follows. See the package comment for what may be done
	// while it is held.
	mu       sync.Mutex
	services map[string]*service
	// owners knows who holds which route: active claims and the claims of
	// deployments that are under way.
	owners      map[Route]*owner
	deployments *deploymentLog
	started     bool
	stopping    bool
	// running counts deployments and removals.
	running sync.WaitGroup

	outcomes deploymentCounters
}

// service is the control plane's record of a service.
type service struct {
	name string
	// active is what the routing table has of the service; nil if it has never
	// been deployed.
	active *claim
	// lastVersion is the number of the newest release.
	lastVersion int
	// deployments are those that are under way, the oldest first.
	deployments []*Deployment
	// committing is taken by the operation that is writing the service's state.
	committing chan struct{}
	// draining are releases that still have traffic.
	draining []*Release
	// retired counts the requests of releases that have drained.
	retired int64
	// broken says why the state of the service could not be loaded.
	broken error
}

// owner holds a route, for as many reasons as count says.
type owner struct {
	service string
	count   int
}

// NewEngine returns an engine with no services.
func NewEngine(opts EngineOptions) *Engine {
	e := &Engine{
		opts:        opts.withDefaults(),
		probeSlots:  make(chan struct{}, maxParallelProbes),
		services:    make(map[string]*service),
		owners:      make(map[Route]*owner),
		deployments: newDeploymentLog(),
	}
	e.store.Store(&opts.Store)
	e.table.Store(newTable(nil))
	return e
}

// SetStore replaces the store, as when a new configuration brings a new handle
// on the same storage.
func (e *Engine) SetStore(s Store) { e.store.Store(&s) }

func (e *Engine) currentStore() Store { return *e.store.Load() }

// Start begins to watch the health of the services that were loaded. Calls after
// the first do nothing.
func (e *Engine) Start() {
	e.mu.Lock()
	if e.started || e.stopping {
		e.mu.Unlock()
		return
	}
	e.started = true
	var active []*Release
	for _, s := range e.services {
		if s.active != nil {
			active = append(active, s.active.active.Load())
		}
	}
	e.mu.Unlock()
	for _, r := range active {
		r.startMonitor(e, 0)
	}
}

// ServeHTTP forwards a request to the release that serves it, which is that of
// the named service, or of the one that claims the request's host and path if
// service is empty. When it returns one of the request errors of this package,
// nothing has been written to w.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request, service string, client Client) error {
	release, prefix, err := e.acquire(r, service)
	if err != nil {
		return err
	}
	return release.forward(w, r, prefix, client)
}

// acquire counts the request on the release that serves it.
func (e *Engine) acquire(r *http.Request, service string) (*Release, string, error) {
	path := matchPath(r.URL)
	for {
		c, prefix, err := e.route(r, path, service)
		if err != nil {
			return nil, "", err
		}
		// If the release is draining, its successor is in the table already, or
		// the service is gone from it.
		if release := c.active.Load(); release.acquire() {
			return release, prefix, nil
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
		return c, orDefault(prefix, "/"), nil
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
func (e *Engine) Upstreams(ctx context.Context, service string) ([]Target, error) {
	for {
		c := e.table.Load().named[service]
		if c == nil {
			return nil, ErrNoRoute
		}
		release := c.active.Load()
		if !release.acquire() {
			continue
		}
		context.AfterFunc(ctx, release.done)
		return release.usableTargets(), nil
	}
}

// usableTargets returns the targets that are not failing, or all if all are.
func (r *Release) usableTargets() []Target {
	var usable, all []Target
	for _, u := range r.upstreams {
		all = append(all, u.target)
		if !u.failing() {
			usable = append(usable, u.target)
		}
	}
	if len(usable) == 0 {
		return all
	}
	return usable
}

// reserve takes routes for a service. It fails if another one has any of them.
// Engine.mu must be held.
func (e *Engine) reserve(name string, routes []Route) error {
	for _, r := range routes {
		if o := e.owners[r]; o != nil && o.service != name {
			return &Error{
				Code:    CodeRouteConflict,
				Message: fmt.Sprintf("%s belongs to the service %s", describeRoute(r), o.service),
				Hint: fmt.Sprintf("to deploy a new release of it, add --service %s; to free the route, run: parachute remove %s",
					o.service, o.service),
			}
		}
	}
	for _, r := range routes {
		if e.owners[r] == nil {
			e.owners[r] = &owner{service: name}
		}
		e.owners[r].count++
	}
	return nil
}

// free gives back routes that reserve took. Engine.mu must be held.
func (e *Engine) free(routes []Route) {
	for _, r := range routes {
		if o := e.owners[r]; o != nil {
			if o.count--; o.count == 0 {
				delete(e.owners, r)
			}
		}
	}
}

func describeRoute(r Route) string {
	host := "every host without a service of its own"
	if r.Host != "" {
		host = "the host " + r.Host
	}
	if r.Prefix == "/" {
		return host
	}
	return "the path " + r.Prefix + " of " + host
}

// service returns the record of a service, a new one if there is none.
// Engine.mu must be held.
func (e *Engine) service(name string) *service {
	s := e.services[name]
	if s == nil {
		s = &service{name: name, committing: make(chan struct{}, 1)}
		e.services[name] = s
	}
	return s
}

// forgetIfUnused removes the record of a service that never came to be.
// Engine.mu must be held.
func (e *Engine) forgetIfUnused(s *service) {
	if s.active == nil && s.broken == nil && len(s.deployments) == 0 && len(s.draining) == 0 && e.services[s.name] == s {
		delete(e.services, s.name)
	}
}

// Shutdown ends deployments that have not switched, closes streams politely and
// waits for them and for commits under way until ctx ends. Requests keep being
// served: the server, which knows when it has stopped accepting them, waits for
// those.
func (e *Engine) Shutdown(ctx context.Context) {
	e.mu.Lock()
	e.stopping = true
	var releases []*Release
	for _, s := range e.services {
		for _, d := range slices.Clone(s.deployments) {
			d.abort(&Error{Code: CodeStopping, Message: "the proxy is stopping; nothing has changed"})
		}
		if s.active != nil {
			releases = append(releases, s.active.active.Load())
		}
		releases = append(releases, s.draining...)
	}
	e.mu.Unlock()

	spread := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(deadline)/2)
	}
	var closing sync.WaitGroup
	for _, r := range releases {
		closing.Go(func() { r.shutdown(ctx, spread) })
	}
	closing.Wait()

	ended := make(chan struct{})
	go func() {
		e.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Close gives up everything at once: connections, probes, deployments.
func (e *Engine) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e.Shutdown(ctx)
	e.mu.Lock()
	services := slices.Collect(maps.Values(e.services))
	e.mu.Unlock()
	for _, s := range services {
		if s.active != nil {
			s.active.active.Load().close()
		}
	}
}

func (e *Engine) logHealth(r *Release, u *upstream, h health) {
	fields := []zap.Field{zap.String("service", r.service), zap.Int("release", r.version), zap.Stringer("target", u.target)}
	if h.state == HealthFailing {
		e.opts.Logger.Warn("target is failing its health check", append(fields, zap.String("reason", h.reason))...)
		return
	}
	e.opts.Logger.Info("target is healthy", fields...)
}

// sortedNames returns the names of all services. Engine.mu must be held.
func (e *Engine) sortedNames() []string {
	return slices.SortedFunc(maps.Keys(e.services), strings.Compare)
}
