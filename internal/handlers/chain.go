package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/clientconn"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// chain are handlers that have been made.
type chain struct {
	service string
	primary caddyhttp.Handler
	// errors handles what primary returns; nil if nothing does.
	errors caddyhttp.Handler
	cancel func()
	logger *zap.Logger
	// dropOddNames says that header fields whose names have an underscore or a dot are
	// dropped: to many applications they are the same as fields that a handler sets or removes.
	dropOddNames bool
	// keepsHeads says that a handler keeps the head of an answer until its first byte.
	keepsHeads bool
	// removed are fields that no answer is to have; nil if there are none.
	removed *headers.HeaderOps
}

// Close implements [proxy.Chain].
func (c *chain) Close() { cleanUp(c.cancel, c.service, c.logger) }

// cleanUp ends the context of handlers, which has them clean up. A panic of one, such as of a
// plugin, says nothing of other services.
func cleanUp(cancel func(), service string, logger *zap.Logger) {
	defer func() {
		if problem := recover(); problem != nil {
			logger.Error("a handler panicked when it was cleaned up; what it holds stays until the proxy ends",
				zap.String("service", service), zap.Any("panic", problem), zap.Stack("stack"))
		}
	}()
	cancel()
}

// passage is a request on its way through a chain.
type passage struct {
	*proxy.Visit
	// head is nil if no handler keeps it.
	head *head
	// unchecked says that a password of the request was not checked, because too many others
	// were.
	unchecked bool
}

// passageKey is the context key of the *passage of a request.
type passageKey struct{}

// routeGroups is what Caddy keeps in the context of a request of the groups of routes that one
// has been chosen from. Groups have numbers, which another config uses as well.
const routeGroups caddy.CtxKey = "route_group"

// ServeHTTP implements [proxy.Chain].
func (c *chain) ServeHTTP(w http.ResponseWriter, r *http.Request, v *proxy.Visit) error {
	if c.dropOddNames {
		for name := range r.Header {
			if strings.ContainsAny(name, "_.") {
				delete(r.Header, name)
			}
		}
	}
	p := &passage{Visit: v}
	if c.keepsHeads && r.Method != http.MethodConnect {
		p.head = new(head)
		w = lowerWriter{&caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, p.head}
	}
	r, replacer := prepare(w, r, p)
	replacer.Map(placeholders(v))
	method, uri, address := r.Method, r.RequestURI, *r.URL
	err := c.primary.ServeHTTP(w, r)
	if err == nil {
		return nil
	}
	if p.unchecked {
		err = errUnchecked()
	}
	if c.errors != nil && !v.Answered() {
		r.Method, r.RequestURI, *r.URL = method, uri, address
		failed := (*caddyhttp.HTTPErrorConfig)(nil).WithError(r, withStatus(err))
		second := c.errors.ServeHTTP(c.removing(w, replacer), failed)
		if second == nil {
			if logged := c.logger.Check(zap.DebugLevel, "a request failed, and was answered by the service's own handling of errors"); logged != nil {
				logged.Write(append(proxy.LogFields(err), zap.String("service", c.service))...)
			}
			return nil
		}
		if !errors.Is(second, errUnhandled) {
			err = second
		}
	}
	if c.removed != nil && !v.Answered() {
		c.removed.ApplyTo(w.Header(), replacer)
	}
	return asProxyError(err)
}

// prepare returns r with what handlers look for in its context. Caddy's server has put it
// there, unless the request has come by the fast path.
func prepare(w http.ResponseWriter, r *http.Request, p *passage) (*http.Request, *caddy.Replacer) {
	ctx := context.WithValue(r.Context(), passageKey{}, p)
	replacer, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if ok {
		ctx = context.WithValue(ctx, routeGroups, make(map[string]struct{}))
		return r.WithContext(ctx), replacer
	}
	replacer = caddy.NewReplacer()
	server, _ := p.Server.(*caddyhttp.Server)
	r = caddyhttp.PrepareRequest(r.WithContext(ctx), replacer, w, server)
	clientconn.RestoreNames(r.Header) // PrepareRequest asks who is trusted, which hides them
	return r, replacer
}

// placeholders are those of a request that is on its way through the handlers of a service.
func placeholders(v *proxy.Visit) caddy.ReplacerFunc {
	return func(key string) (any, bool) {
		switch key {
		case "parachute.service":
			return v.Record.Service, true
		case "parachute.release":
			return v.Record.Release, true
		case "parachute.target": // empty until a target has got the request
			return v.Record.Target, true
		}
		return nil, false
	}
}

// next is the last handler of a chain: it forwards.
func next(w http.ResponseWriter, r *http.Request) error {
	p := r.Context().Value(passageKey{}).(*passage)
	if p.head == nil {
		return asForwardError(p.Next(w, r))
	}
	upper := &upperWriter{ResponseWriter: w, head: p.head}
	if err := p.Next(upper, r); err != nil {
		return asForwardError(err)
	}
	upper.begin()
	return nil
}

// unhandled is the last handler of the error routes.
func unhandled(http.ResponseWriter, *http.Request) error { return errUnhandled }

// forwardError is an error of the proxy's own on its way back through handlers.
type forwardError struct{ error }

// Unwrap returns the error of the proxy.
func (e forwardError) Unwrap() error { return e.error }

func asForwardError(err error) error {
	if err == nil {
		return nil
	}
	return forwardError{err}
}

// withStatus returns err as handlers of errors expect it: with its status.
func withStatus(err error) error {
	if refusal, ok := err.(caddyhttp.HandlerError); ok {
		return refusal
	}
	return caddyhttp.Error(statusOf(err), err)
}

// statusOf returns the status that an error of handlers stands for. A handler may have wrapped
// an error, or the proxy one of a handler's, such as that of a body which is too large.
func statusOf(err error) int {
	if refusal, ok := errors.AsType[caddyhttp.HandlerError](err); ok && refusal.StatusCode > 0 {
		return refusal.StatusCode
	}
	if own, ok := errors.AsType[forwardError](err); ok {
		return proxy.StatusOf(own.error)
	}
	return http.StatusInternalServerError
}

// asProxyError returns an error of handlers as the engine knows it.
func asProxyError(err error) error {
	refusal, refused := errors.AsType[caddyhttp.HandlerError](err)
	if own, ok := errors.AsType[forwardError](err); ok && !refused {
		return own.error
	}
	reason := err.Error()
	if refused && refusal.Err != nil {
		reason = refusal.Err.Error() // without the place in the code
	}
	return &proxy.HandlerError{Status: statusOf(err), Reason: reason, Err: err}
}
