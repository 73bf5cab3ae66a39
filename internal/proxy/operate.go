package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/parachute-proxy/parachute/internal/api"
)

// errUnchanged means that there is nothing to change.
var errUnchanged = errors.New("nothing changes")

// operate begins an operation on a service that exists, unless the engine stops. ifMatch is
// the generation that the caller has seen, or empty. It ends with [Engine.operated].
func (e *Engine) operate(name, ifMatch string) (*service, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.mayDecide(); err != nil {
		return nil, err
	}
	svc := e.services[name]
	if svc == nil {
		return nil, e.noSuchService(name)
	}
	if err := e.checkGeneration(svc, name, ifMatch); err != nil {
		return nil, err
	}
	e.operations.Add(1)
	svc.operations++
	return svc, nil
}

// mayDecide returns why e cannot begin an operation: it stops, or follows another process.
// Engine.mu must be held.
func (e *Engine) mayDecide() error {
	switch {
	case !e.life.now().takesOperations():
		return &api.Error{Code: api.CodeStopping, Message: "the proxy is stopping"}
	case e.following:
		return ErrElsewhere
	}
	return nil
}

// untilStopped returns a context that ends when the engine stops, and what ends it before.
func (e *Engine) untilStopped() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	go func() {
		select {
		case <-e.stopped:
			cancel(&api.Error{Code: api.CodeStopping, Message: "the proxy is stopping; nothing has changed"})
		case <-over:
		}
	}()
	return ctx, sync.OnceFunc(func() { close(over); cancel(nil) })
}

// mayCommit returns why an operation that has the commit slot must change nothing: another
// process decides since it has begun. Engine.mu must be held.
func (e *Engine) mayCommit() error {
	if e.following {
		return ErrElsewhere
	}
	return nil
}

// operated ends an operation on a service.
func (e *Engine) operated(svc *service) {
	e.mu.Lock()
	svc.operations--
	e.forgetIfUnused(svc)
	e.mu.Unlock()
	e.operations.Done()
}

// checkGeneration returns an [api.Error] with [api.CodeChanged] if a service, which may be nil,
// is not in a state that ifMatch names: a list of entity tags, or "*" for any (RFC 9110,
// section 13.1.1). An empty one asks for nothing. Engine.mu must be held.
func (e *Engine) checkGeneration(svc *service, name, ifMatch string) error {
	if ifMatch == "" || ifMatch == "*" && svc != nil {
		return nil
	}
	now := "none"
	if svc != nil {
		now = e.generationOf(svc)
	}
	for tag := range strings.SplitSeq(ifMatch, ",") {
		// A weak tag never matches here, so its W/ may stay.
		if tag = strings.TrimSpace(tag); tag == `"`+now+`"` || tag == now && svc != nil {
			return nil
		}
	}
	return &api.Error{
		Code:    api.CodeChanged,
		Message: fmt.Sprintf("the service %s has changed: its generation is %s, and not %s", api.Printable(name), now, api.Printable(ifMatch)),
		Hint:    "look at it again, and decide anew; nothing has changed by this call",
	}
}

// begin has a deployment be under way, and tells of it. Engine.mu must be held.
func (e *Engine) begin(svc *service, d *Deployment) {
	d.publish = e.feed.publish
	e.feed.publish(d.events[0])
	svc.deployments = append(svc.deployments, d)
	e.deployments.add(d)
}

// end ends a deployment, which gives back what it holds for a release that does not serve.
func (e *Engine) end(svc *service, d *Deployment, err error) {
	e.mu.Lock()
	svc.deployments = slices.DeleteFunc(svc.deployments, func(o *Deployment) bool { return o == d })
	if !d.inService {
		e.free(svc.name, d.reserved)
	}
	e.forgetIfUnused(svc)
	serving := svc.servingVersion()
	e.mu.Unlock()

	d.finish(err, serving)
	e.outcomes.count(d.Status().State)
}
