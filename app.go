package parachute

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/certs"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/handlers"
	"github.com/parachute-proxy/parachute/internal/proxy"
	"github.com/parachute-proxy/parachute/internal/run"
	"github.com/parachute-proxy/parachute/internal/spool"
	"github.com/parachute-proxy/parachute/internal/version"
)

// App is the Caddy app that holds the table of services. Every config that has
// it, and every reload, shares one table as long as they share a storage.
//
// Services are not part of its config: they are deployed with `parachute deploy`
// or through the API, and kept in Caddy's storage.
type App struct {
	// GracePeriod bounds how long streams are closed politely when Caddy stops.
	// It should not be longer than the grace period of the HTTP app. Default: 10s.
	GracePeriod caddy.Duration `json:"grace_period,omitempty"`
	// BoundExit gives the HTTP app the same grace period when Caddy stops, if it
	// has none of its own, so that no client can keep Caddy from stopping. Unlike
	// the HTTP app's own, it does not apply to reloads. `parachute run` sets it.
	BoundExit bool `json:"bound_exit,omitempty"`
	// PublicHTTPSPort is the port that clients reach HTTPS on, over TCP and QUIC, where
	// something forwards it to the one that Caddy listens on. Redirects name it, and so
	// do offers of HTTP/3 (Alt-Svc). Default: redirects have no port if the request has
	// none, else that of Caddy; offers have that of Caddy.
	PublicHTTPSPort int `json:"public_https_port,omitempty"`

	// SiteHosts says what becomes of a deploy of a host that a site of this config has, so
	// that no request would arrive: "refuse", or "warn", which logs it. Default: nothing is
	// done about it. `parachute run` sets it.
	SiteHosts string `json:"site_hosts,omitempty"`

	// AllowHandlers says which of Caddy's handlers services may bring along: "none", "safe",
	// which are those that reach nothing but the request and its answer, or "all". Default:
	// safe.
	AllowHandlers handlers.Allow `json:"allow_handlers,omitempty"`

	// BeforeSwitch is a URL that is asked before every switch of a deployment whether it may
	// happen, and can refuse it. Default: none.
	BeforeSwitch string `json:"before_switch,omitempty"`
	// Webhooks are told of everything that happens to services. Default: none.
	Webhooks []Webhook `json:"webhooks,omitempty"`

	// BufferDir is the directory for the temporary files of bodies that services buffer, which
	// must exist. Default: the system's for temporary files.
	BufferDir string `json:"buffer_dir,omitempty"`
	// BufferDisk is how much those files may take in all, in bytes. Default: 10 GiB.
	BufferDisk int64 `json:"buffer_disk,omitempty"`

	// Fleet makes the proxy one of several that serve the same services. Default: it is alone.
	Fleet *Fleet `json:"fleet,omitempty"`

	engine *proxy.Engine
	// member is the part that the proxy takes in the fleet, if there is one.
	member       membership
	certificates *certs.Manager
	// fronts are the listeners of the config that share connections with other configs.
	fronts *front.Config
	// shutdownDelay is that of the HTTP app, for the time when the process exits.
	shutdownDelay caddy.Duration
	// key is what the engine was acquired with; empty if it was not.
	key   string
	store *store
	// trustNobody has the servers of the config for which no client is a trusted proxy.
	trustNobody map[*caddyhttp.Server]bool
	logger      *zap.Logger
	ctx         caddy.Context
	// caddyConfig is what the config has for certificates, once it has started.
	caddyConfig *certs.CaddyConfig
	// httpPort and httpsPort are the ports of HTTP and HTTPS, 0 as long as they are not
	// known. httpsPort is -1 if there is none. Accessed atomically: requests may come
	// before the config has started.
	httpPort, httpsPort int32
	// altSvc is the header field that offers HTTP/3 on the public port; nil without one.
	altSvc []string
	// closeStreams closes all streams, once, and waits for them.
	closeStreams func()
	// events is Caddy's app for events, and stopEvents ends that it is told of ours.
	events     *caddyevents.App
	stopEvents func()
	// handlers makes the handlers of services; nil before the config has started.
	handlers *handlers.Host
	// stopWebhooks ends that webhooks are told.
	stopWebhooks func()
}

// CaddyModule returns the Caddy module information. Its receiver is a pointer, for Caddy calls
// it whenever somebody asks for a logger, and a value would be a copy of all fields.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "parachute", New: func() caddy.Module { return new(App) }}
}

// Provision acquires the engine and, if this config is the first to use it, reads
// its state. It touches nothing else, since `caddy validate` provisions too.
func (a *App) Provision(ctx caddy.Context) error {
	if a.GracePeriod < 0 {
		return fmt.Errorf("grace_period %s is negative", time.Duration(a.GracePeriod))
	}
	if a.PublicHTTPSPort < 0 || a.PublicHTTPSPort > 65535 {
		return fmt.Errorf("public_https_port %d is not a port", a.PublicHTTPSPort)
	}
	if !slices.Contains([]string{"", refuseSiteHosts, warnOfSiteHosts}, a.SiteHosts) {
		return fmt.Errorf("unknown site_hosts %q; use refuse or warn", a.SiteHosts)
	}
	if a.AllowHandlers == "" {
		a.AllowHandlers = handlers.Safe
	}
	if !slices.Contains(handlers.Allows(), a.AllowHandlers) {
		return fmt.Errorf("unknown allow_handlers %q; use none, safe or all", a.AllowHandlers)
	}
	if a.BeforeSwitch != "" {
		if err := api.CheckURL(a.BeforeSwitch); err != nil {
			return fmt.Errorf("before_switch: %w", err)
		}
	}
	if a.BufferDisk < 0 {
		return fmt.Errorf("buffer_disk %d is negative", a.BufferDisk)
	}
	if a.BufferDir != "" {
		if dir, err := os.Stat(a.BufferDir); err != nil {
			return fmt.Errorf("buffer_dir: %w", err)
		} else if !dir.IsDir() {
			return fmt.Errorf("buffer_dir %s is not a directory", a.BufferDir)
		}
	}
	for _, h := range a.Webhooks {
		if err := h.validate(); err != nil {
			return err
		}
	}
	if a.PublicHTTPSPort != 0 {
		a.altSvc = []string{fmt.Sprintf(`h3=":%d"; ma=2592000`, a.PublicHTTPSPort)} // as Caddy's, but for the port
	}
	if a.GracePeriod == 0 {
		a.GracePeriod = caddy.Duration(run.DefaultGracePeriod)
	}
	a.logger, a.ctx, a.trustNobody = ctx.Logger(), ctx, make(map[*caddyhttp.Server]bool)
	a.store = &store{storage: ctx.Storage(), logger: a.logger}
	if a.Fleet != nil {
		if err := a.Fleet.provision(ctx); err != nil {
			return err
		}
		a.store.storage = &certmagic.FileStorage{Path: a.Fleet.Dir}
	}
	events, err := ctx.App("events")
	if err != nil {
		return err
	}
	a.events = events.(*caddyevents.App)
	a.fronts = front.NewConfig(&fronts)
	if err := bindLife(a, a.events); err != nil {
		return err
	}
	key := storageKey(a.store.storage)
	if a.Fleet != nil {
		key += "fleet" + a.Fleet.Name + string(a.Fleet.StoreRaw) + storageKey(ctx.Storage())
	}
	shared, _, err := engines.LoadOrNew(key, func() (caddy.Destructor, error) {
		c := certs.New()
		engine := proxy.NewEngine(proxy.EngineOptions{
			Store:     a.store,
			Certifier: c,
			Logger:    a.logger,
			UserAgent: "parachute/" + version.Version(),
			Followers: tell{thisProcess},
			Refuse:    refuseSites,
			BeforeSwitch: func() string {
				if a := running.current(); a != nil {
					return a.BeforeSwitch
				}
				return ""
			},
		})
		c.Bind(engine)
		if thisProcess.is(following) {
			engine.Follow()
		}
		member, err := a.Fleet.join(engine, a.store, ctx.Storage(), a.logger)
		if err != nil {
			return nil, err
		}
		if err := engine.Load(context.Background()); err != nil {
			member.leave()
			return nil, err
		}
		return sharedEngine{engine, c, member}, nil
	})
	if err != nil {
		return err
	}
	a.key, a.engine, a.certificates, a.member = key, shared.(sharedEngine).Engine, shared.(sharedEngine).certificates, shared.(sharedEngine).member
	a.closeStreams = sync.OnceFunc(a.shutdown)
	return registerMetrics(ctx, a.engine, a.member.agent)
}

// Start begins to watch the health of services and makes the API answer for this
// config.
func (a *App) Start() error {
	a.caddyConfig = certs.NewCaddyConfig(a.ctx, isCertificateGetter)
	http, https := a.caddyConfig.Ports()
	if !a.caddyConfig.ServesTLS() {
		https = -1
	}
	atomic.StoreInt32(&a.httpPort, int32(http))
	atomic.StoreInt32(&a.httpsPort, int32(https))
	a.handlers = handlers.NewHost(a.ctx, a.AllowHandlers, a.logger.Named("handlers"))
	// What serves already has to go on. At a start, everything else has to serve.
	first := running.engine() != a.engine && !thisProcess.is(following)
	if err := a.engine.SetHandlers(a.handlers, first); err != nil {
		return fmt.Errorf("%w; deploy it with other handlers first", err)
	}
	if err := a.member.begin(a.ctx); err != nil {
		return err
	}
	a.attach()
	a.engine.Start()
	if thisProcess.is(following) {
		a.member.warm() // the process that it takes over from takes part up to then
	} else {
		a.member.start()
	}
	go removeLeftovers(a.store.storage)
	running.add(a)
	a.warnOfSites()
	var err error
	if a.stopEvents, err = a.emitEvents(); err != nil {
		return err
	}
	a.stopWebhooks, err = a.startWebhooks()
	return err
}

// ports returns the ports that clients are redirected by.
func (a *App) ports() forward.Ports {
	return forward.Ports{
		HTTP: int(atomic.LoadInt32(&a.httpPort)), HTTPS: int(atomic.LoadInt32(&a.httpsPort)), PublicHTTPS: a.PublicHTTPSPort,
	}
}

// offerPublicPort has an answer that offers HTTP/3, as Caddy's server makes it, do so on
// the public port. Caddy has no setting for it.
func (a *App) offerPublicPort(header http.Header) {
	if offer := header["Alt-Svc"]; a.altSvc != nil && len(offer) > 0 && strings.HasPrefix(offer[0], `h3=":`) {
		header["Alt-Svc"] = a.altSvc
	}
}

// attach has the engine work with what this config brings.
func (a *App) attach() {
	a.engine.Attach(a.store, a.logger)
	a.engine.Spools().SetLimits(spool.Limits{Dir: a.BufferDir, MaxDisk: a.BufferDisk})
	if a.certificates != nil {
		a.certificates.Attach(a.caddyConfig)
	}
}

// Stop ends what the config has begun. A reload closes nothing: the next config goes on
// with the same engine. When the process exits, Stop leaves all to Cleanup: apps stop in no
// order, and the servers may go on for a while.
func (a *App) Stop() error {
	if !caddy.Exiting() {
		a.end()
	}
	return nil
}

func (a *App) end() {
	a.stopEvents()
	a.stopWebhooks()
	a.leave()
}

// leave makes the API answer for the config before this one, if there is one. If
// it is a reload that has failed, the storage of this config is about to be
// closed, and the other goes on.
func (a *App) leave() {
	if left := running.remove(a); left != nil && left.engine == a.engine {
		left.attach()
		_ = left.engine.SetHandlers(left.handlers, true) // which it could make before
	}
}

// Cleanup gives back the engine, if Provision got as far as acquiring it. When a
// config fails late, Caddy cleans up what it never stopped.
func (a *App) Cleanup() error {
	if a.key == "" {
		return nil
	}
	if caddy.Exiting() && a.stopWebhooks != nil {
		a.end()
	} else {
		a.leave()
	}
	if caddy.Exiting() {
		a.closeStreams()
	}
	key := a.key
	a.key = ""
	_, err := engines.Delete(key)
	return err
}

func (a *App) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(a.GracePeriod))
	defer cancel()
	a.engine.Shutdown(ctx)
}

// engines are the engines in use, by the storage that holds their state. Pooling
// them is what lets deployments, streams and health outlive a reload.
var engines = caddy.NewUsagePool()

type sharedEngine struct {
	*proxy.Engine
	certificates *certs.Manager
	member       membership
}

// Destruct is called when the last config that used the engine is gone. Its
// servers may still be busy with requests.
func (e sharedEngine) Destruct() error {
	e.member.leave() // by now this proxy sends no requests to anything
	if caddy.Exiting() {
		e.Close()
	} else {
		e.Retire()
	}
	e.certificates.Close()
	return nil
}

// storageKey identifies a storage across reloads, each of which makes a new value
// for the same one.
func storageKey(s certmagic.Storage) string {
	if named, ok := s.(fmt.Stringer); ok {
		return named.String()
	}
	config, err := json.Marshal(s)
	if err != nil {
		return fmt.Sprintf("%T", s)
	}
	return fmt.Sprintf("%T%s", s, config)
}

// running are the apps that are started, the newest last. During a reload there
// are two for a moment, and if it fails the older one remains: a single variable
// would lose it.
var running appList

type appList struct {
	// mu guards apps.
	mu   sync.Mutex
	apps []*App
}

func (l *appList) add(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps = append(l.apps, a)
}

// remove returns the app that takes the place of a, if a was the newest and another is
// left, or nil.
func (l *appList) remove(a *App) *App {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest() != a {
		l.apps = slices.DeleteFunc(l.apps, func(o *App) bool { return o == a })
		return nil
	}
	l.apps = l.apps[:len(l.apps)-1]
	return l.newest()
}

// newest returns the app that was started last, or nil. mu must be held.
func (l *appList) newest() *App {
	if len(l.apps) == 0 {
		return nil
	}
	return l.apps[len(l.apps)-1]
}

// engine returns the engine of the app that was started last, or nil.
func (l *appList) engine() *proxy.Engine {
	if a := l.current(); a != nil {
		return a.engine
	}
	return nil
}

// current returns the app that was started last, or nil.
func (l *appList) current() *App {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest()
}
