package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/proxy"
)

// Host makes handlers for one config of Caddy's.
type Host struct {
	ctx    caddy.Context
	allow  Allow
	logger *zap.Logger
}

// NewHost returns a host for the config of ctx, which has to have started. allow says which
// handlers services may have.
func NewHost(ctx caddy.Context, allow Allow, logger *zap.Logger) *Host {
	return &Host{ctx: ctx, allow: allow, logger: logger}
}

var _ proxy.Handlers = (*Host)(nil)

// making is held while modules are made: when one of them asks for an app of the config, Caddy
// looks that up, and may put it, into a map that has no lock.
var making sync.Mutex

// Compile implements [proxy.Handlers].
func (h *Host) Compile(service string, adapted json.RawMessage) (proxy.Chain, error) {
	a, err := decode(adapted)
	if err != nil {
		return nil, err
	}
	// What was allowed when it was deployed need not be any more.
	if a.Directives && h.allow == None {
		return nil, errNoDirectives
	}
	if err := h.check(a); err != nil {
		return nil, err
	}
	return h.compile(service, a)
}

// compile makes handlers, with a context of their own.
func (h *Host) compile(service string, a *Adapted) (c *chain, err error) {
	making.Lock()
	defer making.Unlock()
	if a, err = a.withOwnBasicAuth(); err != nil {
		return nil, err
	}
	ctx, cancel := caddy.NewContext(h.ctx)
	defer func() {
		if problem := recover(); problem != nil {
			err = panicked(problem)
		}
		if err != nil {
			cleanUp(cancel, service, h.logger)
		}
	}()
	c = &chain{service: service, cancel: cancel, logger: h.logger, dropOddNames: a.readsNames(), keepsHeads: a.has("encode"), removed: a.removedFields()}
	if c.primary, err = routes(ctx, a.Routes, caddyhttp.HandlerFunc(next)); err != nil {
		return nil, err
	}
	if a.Errors != nil {
		if c.errors, err = routes(ctx, a.Errors, caddyhttp.HandlerFunc(unhandled)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// panicked returns the error of a module that has panicked, such as of a plugin.
func panicked(problem any) error { return fmt.Errorf("a module panicked: %v", problem) }

// routes makes handlers in front of last.
func routes(ctx caddy.Context, raw json.RawMessage, last caddyhttp.Handler) (caddyhttp.Handler, error) {
	if raw == nil {
		return last, nil
	}
	var list caddyhttp.RouteList
	if err := caddy.StrictUnmarshalJSON(raw, &list); err != nil {
		return nil, err
	}
	if err := list.Provision(ctx); err != nil {
		return nil, err
	}
	return list.Compile(last), nil
}

var errUnhandled = errors.New("no error route has answered")

// caddyVersion returns the version of Caddy.
func caddyVersion() string {
	simple, _ := caddy.Version()
	return simple
}
