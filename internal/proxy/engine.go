package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/spool"
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
	// chains are the handlers of the releases.
	chains *chains

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
	// life is where the engine stands between its making and its end.
	life lifetime
	// following says that another process decides about the services.
	following bool
	// fleet is what this proxy is part of; nil without one. It is set before anything happens.
	fleet Fleet
	// revisions are those of the decisions of the fleet that the services here are of.
	revisions map[string]uint64
	// drainsElsewhere has the services of which the processes that follow this one may hold releases that had left
	// before this one took over, each with how many look at that.
	drainsElsewhere map[string]int
	// prepared are the releases of proposals that the fleet has not decided on, by service.
	prepared map[string]*preparation
	// operations counts deployments and removals.
	operations sync.WaitGroup
	// stopped is closed when the engine stops.
	stopped chan struct{}

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

// owner holds a route, for as many reasons as count says.
type owner struct {
	service string
	count   int
}

// NewEngine returns an engine with no services.
func NewEngine(opts EngineOptions) *Engine {
	e := &Engine{
		opts:            opts.withDefaults(),
		chains:          newChains(opts.Handlers),
		services:        make(map[string]*service),
		owners:          make(map[api.Route]*owner),
		deployments:     newDeploymentLog(),
		feed:            newFeed(),
		stopped:         make(chan struct{}),
		revisions:       make(map[string]uint64),
		drainsElsewhere: make(map[string]int),
		prepared:        make(map[string]*preparation),
		askPause:        defaultAskPause,

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

// Spools returns the room for the bodies that are buffered, of all services.
func (e *Engine) Spools() *spool.Space { return e.forwarder.Spools() }

func (e *Engine) log() *zap.Logger { return e.logger.Load() }

func (e *Engine) currentStore() Store { return *e.store.Load() }

// logHealth logs that the health of a target of r has changed.
func (e *Engine) logHealth(r *forward.Release, target api.Target, health api.Health, reason string) {
	e.feed.publish(api.Event{
		Kind: api.EventHealthChanged, Followed: e.feed.follows.Load(), Service: r.Spec.Service, Release: r.Version, Target: target.String(), Health: health, Reason: reason,
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

// newRelease returns a release that has no traffic yet. It opens nothing, and has to be closed.
func (e *Engine) newRelease(s api.Spec) *release {
	r := &release{Release: e.forwarder.NewRelease(s)}
	r.Spec = &r.Release.Spec
	r.keyPair = keyPairOf(&s)
	r.clients = trustedClientsOf(&s)
	if s.Handlers != nil {
		slot := e.chains.add(s.Service, s.Handlers)
		r.handlers, r.Closed = slot, func() { e.chains.remove(slot) }
	}
	return r
}
