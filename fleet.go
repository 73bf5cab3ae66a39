package parachute

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleetstorage"
	"github.com/parachute-proxy/parachute/internal/proxy"
	"github.com/parachute-proxy/parachute/internal/version"
)

// Fleet makes a proxy one of several that decide together, in the storage that they share.
type Fleet struct {
	// Name is that of this proxy, which no other one has. Required.
	Name string `json:"name"`
	// Dir is a directory of this proxy's own for what it keeps of the services, so that it
	// starts without the others. Required.
	Dir string `json:"dir"`
}

func (f *Fleet) validate() error {
	if f.Name == "" || f.Dir == "" {
		return errors.New("fleet: name and dir are required")
	}
	return nil
}

// join makes an engine one of the fleet, and returns what takes part for it; nil without a fleet.
func (f *Fleet) join(e *proxy.Engine, shared certmagic.Storage, logger *zap.Logger) *fleet.Agent {
	if f == nil {
		return nil
	}
	agent := fleet.New(fleet.Options{Name: f.Name, Version: version.Version(), Backend: fleetstorage.New(shared), Logger: logger.Named("fleet")}, e)
	e.Join(agent)
	return agent
}

// leaveTimeout bounds how long a proxy that stops tries to say goodbye.
const leaveTimeout = 2 * time.Second

// leaveFleet has the fleet go on without this proxy. agent may be nil.
func leaveFleet(agent *fleet.Agent) {
	if agent == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	_ = agent.Leave(ctx) // the others then miss it for a minute
}

// currentAgent returns what takes part in the fleet; nil without one.
func currentAgent() *fleet.Agent {
	if a := running.current(); a != nil {
		return a.agent
	}
	return nil
}

// withFleet makes a call of the API one that there is in a fleet alone.
func withFleet(w http.ResponseWriter, call func(*fleet.Agent)) {
	agent := currentAgent()
	if agent == nil {
		writeError(w, &api.Error{Code: api.CodeNotFound, Message: "the proxy is not part of a fleet", Hint: "start it with --fleet; see docs/FLEET.md"}, nil)
		return
	}
	call(agent)
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

// forgetMember removes a proxy that is gone for good.
func forgetMember(_ *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	withFleet(w, func(a *fleet.Agent) {
		err := a.Forget(r.Context(), r.PathValue("name"))
		answer(w, a.Status(), err)
	})
}
