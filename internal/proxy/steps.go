package proxy

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// operation is a deployment that was accepted, with what its steps hand to each other.
type operation struct {
	e   *Engine
	svc *service
	d   *Deployment
	// next is the release that is to serve, old the one that served before the commit;
	// nil if there was none.
	next, old *release
	// healthySince is when the gate saw the first target healthy.
	healthySince time.Time
	// certifying says that certificates have been asked for.
	certifying bool
}

// step is a part of a deployment.
type step struct {
	name string
	do   func(*operation) error
}

// steps are what is done once a deployment was accepted, that is, validated and with its
// routes reserved. Whatever fails up to the commit changes nothing. A new part of a
// deployment, such as a warm-up, is one more entry.
var steps = []step{
	{"gate", (*operation).gate},
	{"certify", (*operation).certify},
	{"confirm", (*operation).confirm},
	{"commit", (*operation).commit},
	{"drain", (*operation).drain},
}

// run does the steps in their order, up to the first that fails.
func (o *operation) run() error {
	for _, s := range steps {
		start := time.Now()
		if err := s.do(o); err != nil {
			o.undo()
			return err
		}
		o.e.log().Debug("a step of a deployment is done", zap.String("service", o.svc.name),
			zap.String("deployment", o.d.id), zap.String("step", s.name), zap.Duration("took", time.Since(start)))
	}
	return nil
}

// undo gives up a release that does not serve.
func (o *operation) undo() {
	o.e.mu.Lock()
	serves := o.d.inService
	o.e.mu.Unlock()
	if serves {
		return
	}
	if o.certifying {
		o.e.forgetCertificates(o.next) // those that could be obtained
	}
	o.next.Close()
}

// gate waits until all targets are healthy.
func (o *operation) gate() (err error) {
	if !o.d.spec.Force {
		o.healthySince, err = o.d.passGate(o.next)
	}
	return err
}

// certify gets the certificates.
func (o *operation) certify() error {
	o.certifying = true
	return o.e.certify(o.d, o.next)
}

// confirm asks the targets once more, if the certificates have taken their time.
func (o *operation) confirm() error {
	if o.d.spec.Force {
		return nil
	}
	return o.d.confirmGate(o.next, o.healthySince)
}

// commit stores the release and switches to it. Only one operation of a service
// commits at a time; from the moment that d has the slot, it can no longer be
// superseded or cancelled.
func (o *operation) commit() error {
	e, svc, d, next := o.e, o.svc, o.d, o.next
	select {
	case svc.committing <- struct{}{}:
	case <-d.ctx.Done():
		return context.Cause(d.ctx)
	}
	defer func() { <-svc.committing }()

	e.mu.Lock()
	if !d.pointOfNoReturn() {
		e.mu.Unlock()
		return context.Cause(d.ctx)
	}
	next.Version, next.DeployedAt = svc.lastVersion+1, time.Now().UTC()
	if svc.active != nil {
		o.old = svc.active.active.Load()
	}
	e.mu.Unlock()

	if err := e.save(next); err != nil {
		d.notCommitted()
		return &api.Error{
			Code:    api.CodeStorage,
			Message: fmt.Sprintf("storing the release failed: %s", api.Printable(err.Error())),
			Hint:    "check the free space and the permissions of the storage directory; nothing has changed",
			Cause:   err,
		}
	}

	start := time.Now()
	e.mu.Lock()
	if e.retired.Load() {
		e.mu.Unlock()
		return &api.Error{
			Code:    api.CodeStopping,
			Message: "the proxy stopped using parachute before the switch",
			Hint:    "the release is stored: it serves when parachute is in the proxy's configuration again",
		}
	}
	e.switchTo(svc, next)
	d.inService = true
	// A release that is in service keeps the claims of its deployment; those of
	// its predecessor are free.
	if o.old != nil {
		e.free(o.old.Spec.Routes)
		svc.draining = append(svc.draining, o.old)
	}
	e.mu.Unlock()
	took := api.Since(start)

	next.StartMonitor(time.Duration(next.Spec.Options.HealthCheckInterval))
	e.keepCertificates(next)
	e.forgetCertificates(o.old)
	d.switched(o.old, next, took)
	return nil
}

// drain waits until the old release, and older ones that still drain, hold nothing.
func (o *operation) drain() error {
	return o.e.drainOld(o.svc, o.old, o.d.spec.Options.Drain(), o.d.spec.FailOnCut, o.d.drainProgress, o.d.drained)
}
