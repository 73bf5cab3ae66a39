package proxy

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// step is a part of a deployment.
type step struct {
	name string
	do   func(*operation) error
}

// steps are what is done once a deployment was accepted, that is, validated and with its
// routes reserved. Whatever fails up to the commit changes nothing. A new part of a
// deployment, such as a warm-up, is one more entry.
var steps = []step{
	{"handlers", (*operation).makeHandlers},
	{"gate", (*operation).gate},
	{"warm", (*operation).warm},
	{"smoke", (*operation).smoke},
	{"certify", (*operation).certify},
	{"ask", (*operation).askBeforeSwitch},
	{"confirm", (*operation).confirm},
	{"propose", (*operation).propose},
	{"commit", (*operation).commit},
	{"spread", (*operation).spread},
	{"try", (*operation).try},
	{"drain", (*operation).drain},
	{"drained", (*operation).drainedEverywhere},
}

// run does the steps in their order, up to the first that fails.
func (o *operation) run() error {
	defer func() { o.ballot.Close() }()
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
	unlock, err := o.prepare()
	if err != nil {
		return err
	}
	defer unlock()
	e.mu.Lock()
	before, after := svc.lineup(), o.proposed
	if after == nil {
		after = o.lineup()
	}
	e.mu.Unlock()
	revision, err := o.ballot.Decide()
	if err == nil {
		if err = e.save(svc, after); err != nil {
			err = e.notKept(notStored("storing the release failed", err))
		}
	}
	if err != nil {
		e.mu.Lock()
		o.giveBack()
		d.notCommitted()
		e.mu.Unlock()
		return err
	}

	start := time.Now()
	e.mu.Lock()
	if e.life.now() == lifeRetired {
		e.mu.Unlock()
		return &api.Error{
			Code:    api.CodeStopping,
			Message: "the proxy stopped using parachute before the switch",
			Hint:    "the release is stored: it serves when parachute is in the proxy's configuration again",
		}
	}
	var recovered []api.Target
	if o.old != nil && !slices.Contains(after.releases(), o.old) { // who may serve again keeps what it has
		recovered = next.Inherit(o.old.Release)
	}
	e.switchTo(svc, after, o.taken)
	e.follows(svc.name, revision)
	d.inService = true
	// A release that is in service keeps the claims of its deployment; those of releases
	// that leave are free.
	var left []*release
	if before != nil {
		left = e.leave(svc, before.without(after))
	}
	e.mu.Unlock()
	took := api.Since(start)

	next.StartMonitor(time.Duration(next.Spec.Options.HealthCheckInterval))
	for _, t := range recovered {
		e.logHealth(next.Release, t, api.HealthHealthy, "")
	}
	o.storeLeft()
	e.keepCertificates(next)
	for _, r := range left {
		e.forgetCertificates(r)
	}
	for _, t := range o.taken {
		e.forgetCertificates(t.from)
	}
	if before != nil && before.rollout != nil {
		e.replaceRollout(before.rollout, next, after)
	}
	o.switched(after, left, took)
	return nil
}

// lineup returns what the service is after the commit. Engine.mu must be held.
func (o *operation) lineup() *lineup {
	next := lineup{active: o.next, hold: o.hold()}
	var how api.Rollout
	if asked := o.d.spec.Rollout; asked != nil {
		how = *asked
	}
	previous := o.old
	if before := o.svc.lineup(); before != nil && !how.IsCanary() && before.rollout != nil && before.active == before.rollout.next {
		previous = before.rollout.previous // the way back leads to what was trusted last
	}
	if o.old != nil && (how.IsCanary() || how.Watch > 0) {
		o.rollout = newRollout(how, o.next, previous, o.d)
		o.rollout.shared = o.e.fleet != nil
		next.rollout = o.rollout
	}
	switch {
	case o.old == nil:
	case how.IsCanary():
		next.active = o.old
		next.candidate = newCandidate(o.next, o.rollout.weight(), rand.Uint64(), how.By)
	case how.Watch > 0 || how.Keep:
		next.standby = previous
	}
	next.sign(o.svc.lineup())
	if before := o.svc.lineup(); before != nil && before.rollout != nil {
		next.ended = o.e.ending(before.rollout.next, replaced, before.rollout.replacedOutcome(), takenPlace(o.next))
	}
	return &next
}

// switched does what is due once the service has its line-up, of which left are out.
func (o *operation) switched(now *lineup, left []*release, took api.Seconds) {
	e, svc, d := o.e, o.svc, o.d
	aside := left
	if o.rollout == nil { // which this deployment would wait for before it has old drain
		aside = slices.DeleteFunc(slices.Clone(left), func(r *release) bool { return r == o.old })
	}
	e.drainAside(svc, aside, o.next.Spec.Options.Drain(), d.drained)
	if now.active == o.next {
		e.remember(o.old, o.next, o.next.DeployedAt)
		d.switched(o.old, o.next, summary(o.taken), took, now.standby != nil)
	}
	if now.standby != nil && now.rollout == nil {
		d.kept(now.standby)
	}
	if o.rollout != nil || !slices.Contains(left, o.old) {
		o.old = nil // which stays, or drains already
	}
	if o.rollout != nil {
		e.operations.Go(func() { e.runRollout(svc, o.rollout) })
	}
}

// try waits until the release is trusted, has left again, or waits for somebody to decide.
func (o *operation) try() error {
	if o.rollout == nil {
		return nil
	}
	select {
	case <-o.rollout.ended:
	case <-o.rollout.undecided:
	}
	err := o.rollout.outcome()
	if o.rollout.isHandedOver() {
		err = o.tryElsewhere()
	}
	if code := api.ErrorCode(err); code == api.CodeReverted || code == api.CodeSuperseded {
		o.awaitDrains() // so that the instances of the release may be removed
		if _, others := o.e.awaitOthers(o.svc, o.d.spec.Options.Drain()); others != nil {
			told := *api.AsError(err)
			told.Message += "; " + api.AsError(others).Message
			err = &told
		}
	}
	return err
}

// awaitDrains waits until no older release of the service drains.
func (o *operation) awaitDrains() {
	for _, r := range o.e.otherDrains(o.svc, nil) {
		<-r.drain.over
	}
}

// hold returns the hold of the service, which a deploy leaves as it is. One that goes on
// under another name is held on. Engine.mu must be held.
func (o *operation) hold() *hold {
	if o.svc.active != nil {
		return o.svc.hold()
	}
	for _, t := range o.taken {
		if t.from != nil && t.left == nil && t.hold != nil {
			return t.hold
		}
	}
	return nil
}

// prepare takes the commit slots of all services that the commit changes. The deployment
// can then no longer be ended from outside, its release has a number, and the routes that
// others have are taken.
func (o *operation) prepare() (unlock func(), err error) {
	for {
		holders, unlock, err := o.lockCommits()
		if err != nil {
			return nil, err
		}
		o.e.mu.Lock()
		changed := !slices.Equal(holders, o.e.holders(o.svc.name, o.d.spec.Routes))
		if !changed {
			if err = o.begin(); err != nil {
				o.d.notCommitted()
			}
		}
		o.e.mu.Unlock()
		if !changed && err == nil {
			return unlock, nil
		}
		unlock()
		if err != nil {
			return nil, err
		}
	}
}

// begin is prepare, with all slots taken. Engine.mu must be held.
func (o *operation) begin() error {
	svc, d, next := o.svc, o.d, o.next
	if !d.pointOfNoReturn() {
		return context.Cause(d.ctx)
	}
	if b := d.builtOn; b != nil && !b.inService {
		return &api.Error{
			Code:    api.CodeStorage,
			Message: "the deployment before it could not be stored, and this one was to keep its settings; nothing has changed",
			Hint:    "deploy again",
		}
	}
	if o.e.fleet == nil {
		next.Version, next.DeployedAt = svc.lastVersion+1, time.Now().UTC()
	} else if next.Version != svc.lastVersion+1 {
		return decidedMeanwhile(svc.name)
	}
	next.Traffic = svc.traffic
	if o.old = svc.release(); o.old != nil {
		next.takenFrom = o.old.takenFrom
		if err := checkCanary(o.old.Spec, &d.spec); err != nil {
			return err
		}
	}
	if !d.spec.TakeOver {
		return o.e.reservable(&d.spec)
	}
	if err := o.take(); err != nil {
		return err
	}
	for _, t := range o.taken {
		if !slices.Contains(next.takenFrom, t.svc.name) {
			next.takenFrom = append(slices.Clone(next.takenFrom), t.svc.name)
		}
	}
	return nil
}

// drain waits until the old release, older ones that still drain, and those of services
// that have lost all routes hold nothing. In a fleet, the instances are of no use to others yet if something was cut:
// drainedEverywhere returns the error.
func (o *operation) drain() error {
	e, s := o.e, &o.d.spec
	var others sync.WaitGroup
	failures := make([]error, len(o.taken))
	for i, t := range o.taken {
		if t.from == nil || t.left != nil {
			continue
		}
		others.Go(func() {
			failures[i] = e.drainAll(t.svc, t.from, s.Options.Drain(), s.FailOnCut, nil, func(d api.Drain) {
				d.Service = t.svc.name
				o.d.drained(d)
			})
			e.mu.Lock()
			e.forgetIfUnused(t.svc)
			e.mu.Unlock()
		})
	}
	err := e.drainAll(o.svc, o.old, s.Options.Drain(), s.FailOnCut, o.d.drainProgress, o.d.drained)
	others.Wait()
	if err == nil && o.rollout != nil && s.FailOnCut {
		err = o.d.cutError() // the rollout has had the old release drain
	}
	if err = cmp.Or(err, errors.Join(failures...)); o.e.fleet != nil {
		o.cut, err = err, nil
	}
	return err
}
