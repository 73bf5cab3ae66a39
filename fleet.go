package parachute

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleetstorage"
	"github.com/parachute-proxy/parachute/internal/proxy"
	"github.com/parachute-proxy/parachute/internal/version"
)

// Fleet makes a proxy one of several that decide together.
type Fleet struct {
	// Name is that of this proxy, which no other one has. Required.
	Name string `json:"name"`
	// Dir is a directory of this proxy's own for what it keeps of the services, so that it
	// starts without the others. If it is the storage that the proxy has had before it was part of the fleet, its services are
	// brought into the fleet. Required.
	Dir string `json:"dir"`
	// MissingAfter is how long a proxy that is not heard of, and has not said goodbye, keeps the fleet from
	// deciding. 0 means that it does until it is forgotten. Default: 1m.
	MissingAfter *caddy.Duration `json:"missing_after,omitempty"`
	// StoreRaw is where the proxies meet. Default: in the storage of the config, which all of
	// them share.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=parachute.fleet inline_key=module"`

	// opener opens what StoreRaw says; nil for the storage.
	opener fleet.Opener
}

// provision checks the config, and loads the module of the store.
func (f *Fleet) provision(ctx caddy.Context) error {
	if f.Name == "" || f.Dir == "" {
		return errors.New("fleet: name and dir are required")
	}
	if f.StoreRaw == nil {
		return nil
	}
	module, err := ctx.LoadModule(f, "StoreRaw")
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	opener, ok := module.(fleet.Opener)
	if !ok {
		return fmt.Errorf("fleet: %T is no store of a fleet", module)
	}
	f.opener = opener
	return nil
}

// membership is how a proxy takes part in a fleet. Its zero value takes part in none.
type membership struct {
	agent   *fleet.Agent
	logger  *zap.Logger
	imports *fleetImports
	// closeStore ends what the agent meets the others by; nil if nothing has to be ended.
	closeStore func()
}

// join makes an engine one of the fleet, before it loads what is in its store. shared is the storage of the config. f may be nil.
func (f *Fleet) join(e *proxy.Engine, own *store, shared certmagic.Storage, logger *zap.Logger) (m membership, err error) {
	if f == nil {
		return m, nil
	}
	logger = logger.Named("fleet")
	m.imports = &fleetImports{store: own, logger: logger}
	pending, _, err := m.imports.pending()
	if err != nil {
		return m, fmt.Errorf("fleet: reading which services are to be brought into it: %w", err)
	}
	var store fleet.Store = fleetstorage.New(shared)
	if f.opener != nil {
		if store, m.closeStore, err = f.opener.Open(f.Name, f.Dir, logger); err != nil {
			return m, fmt.Errorf("fleet: %w", err)
		}
	}
	m.logger = logger
	options := fleet.Options{Name: f.Name, Version: version.Version(), Store: store, Imports: pending, BeforeImport: m.imports.share, NoteImports: m.imports.note, Logger: logger}
	if f.MissingAfter != nil {
		options.MissingAfter = cmp.Or(time.Duration(*f.MissingAfter), -1)
	}
	m.agent = fleet.New(options, e)
	e.Join(m.agent)
	return m, nil
}

// begin gets ready to bring services into the fleet, before anything is served by a config. One that
// is only validated begins nothing.
func (m membership) begin(config caddy.Context) error {
	if m.imports == nil {
		return nil
	}
	if err := m.imports.begin(config.Storage()); err != nil {
		return fmt.Errorf("fleet: noting which services are to be brought into it: %w", err)
	}
	return nil
}

// leaveTimeout bounds how long a proxy that stops waits for what it applies, before it says goodbye.
const leaveTimeout = 2 * time.Second

// start has this process take part.
func (m membership) start() {
	if m.agent != nil {
		m.agent.Start()
	}
}

// warmTimeout bounds how long a process that takes over boots longer to reach what its fleet meets in.
const warmTimeout = 5 * time.Second

// warm gets ready for start.
func (m membership) warm() {
	if m.agent != nil {
		ctx, cancel := context.WithTimeout(context.Background(), warmTimeout)
		defer cancel()
		m.agent.Warm(ctx)
	}
}

// leave has the fleet, if there is one, go on without this proxy. It says no goodbye if another process of the proxy takes part.
func (m membership) leave() {
	switch {
	case m.agent == nil:
	case thisProcess.is(following):
		m.agent.Stop()
	default:
		if caddy.Exiting() {
			// Those that this process has taken over from were told to end when it was, and may have requests yet.
			tell{thisProcess}.all().AwaitEnd(leaveTimeout)
		}
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		if err := m.agent.Leave(ctx); err != nil {
			m.logger.Warn("this proxy could not say goodbye to its fleet, which misses it for a minute", zap.Error(err))
		}
	}
	if m.closeStore != nil {
		m.closeStore()
	}
}

// suspend has this process take no part any more, since the next one is about to. It returns what that one is to know.
func (m membership) suspend() (standing []byte) {
	defer fleet.Seat.Give() // which a storage for certificates may have without a fleet
	if m.agent == nil {
		return nil
	}
	s := m.agent.Suspend(thisProcess.number())
	standing, err := json.Marshal(s)
	if err != nil {
		m.logger.Error("the next process does not learn what this one is in the fleet, and joins it anew", zap.Error(err))
		return []byte("{}")
	}
	return standing
}

// resume has this process take part again, since the next one has failed.
func (m membership) resume() {
	if err := fleet.Seat.Take(); err != nil {
		thisProcess.log().Warn("what this proxy runs for its fleet does not run yet; it is tried again", zap.Error(err))
	}
	if m.agent != nil {
		m.agent.Resume()
	}
}

// succeed gets this process ready to take part in the place of the one before. Its standing is nil if it was in no fleet, or
// has died: then this process joins as after a start.
func (m membership) succeed(standing []byte) error {
	switch {
	case m.agent == nil && standing != nil:
		return errors.New("the running process is part of a fleet, and this one is not: stop the proxy, and start it anew")
	case standing != nil:
		var s fleet.Standing
		if err := json.Unmarshal(standing, &s); err != nil {
			return fmt.Errorf("reading the standing in the fleet: %w", err)
		}
		if err := m.agent.Adopt(s); err != nil {
			return err
		}
	}
	if err := fleet.Seat.Take(); err != nil {
		return fmt.Errorf("running what this proxy runs for its fleet: %w", err)
	}
	return nil
}

// living tells which of the processes live that this one has taken over from.
func (m membership) living(generations []int) {
	if m.agent != nil {
		m.agent.Living(generations)
	}
}

// ended tells that a process has ended that this one has taken over from.
func (m membership) ended(one api.ProcessIdentity) {
	if m.agent != nil {
		m.agent.Ended(one.Generation)
	}
}

// currentMembership is how this process takes part in a fleet.
func currentMembership() membership {
	if a := running.current(); a != nil {
		return a.member
	}
	return membership{}
}

// currentAgent returns what takes part in the fleet; nil without one.
func currentAgent() *fleet.Agent { return currentMembership().agent }

// withFleet calls call with the agent. Without a fleet, it answers 404.
func withFleet(w http.ResponseWriter, call func(*fleet.Agent)) {
	agent := currentAgent()
	if agent == nil {
		writeError(w, &api.Error{Code: api.CodeNotFound, Message: "the proxy is not part of a fleet", Hint: "start it with --fleet; see docs/FLEET.md"}, nil)
		return
	}
	call(agent)
}

// fleetShares returns what tells how many proxies of the fleet serve a service; nil without a fleet.
func fleetShares(ctx context.Context) func(service string) *api.FleetShare {
	if agent := currentAgent(); agent != nil {
		return agent.Shares(ctx)
	}
	return func(string) *api.FleetShare { return nil }
}

func fleetStatus(_ *proxy.Engine, w http.ResponseWriter, _ *http.Request) {
	withFleet(w, func(a *fleet.Agent) { writeJSON(w, http.StatusOK, a.Status()) })
}

// leaveTheFleet has this proxy say goodbye.
func leaveTheFleet(_ *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	withFleet(w, func(a *fleet.Agent) {
		err := a.Leave(r.Context())
		answer(w, a.Status(), err)
	})
}

// restoreFleet gives the fleet's store what this proxy serves.
func restoreFleet(_ *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	withFleet(w, func(a *fleet.Agent) {
		restored, err := a.Restore(r.Context())
		status := a.Status()
		status.Restored = restored
		answer(w, status, err)
	})
}

// forgetMember removes a proxy that is gone for good.
func forgetMember(_ *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	withFleet(w, func(a *fleet.Agent) {
		err := a.Forget(r.Context(), r.PathValue("name"))
		answer(w, a.Status(), err)
	})
}
