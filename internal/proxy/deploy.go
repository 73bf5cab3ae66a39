package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// storeTimeout bounds one write of the state.
const storeTimeout = 10 * time.Second

// Deploy accepts a deployment, or says why not: the request is invalid, or
// another service owns one of its routes. Accepting it ends every older
// deployment of the same service that has not begun to commit. The deployment
// goes on by itself; see [Deployment.Wait].
func (e *Engine) Deploy(req DeployRequest) (*Deployment, error) {
	s, err := req.resolve()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return nil, &Error{Code: CodeStopping, Message: "the proxy is stopping"}
	}
	if err := e.reserve(s.service, s.routes); err != nil {
		return nil, err
	}
	svc := e.service(s.service)
	for _, older := range slices.Clone(svc.deployments) {
		older.abort(&Error{
			Code:    CodeSuperseded,
			Message: fmt.Sprintf("a newer deployment of %s was accepted; this one has changed nothing", s.service),
		})
	}
	d := newDeployment(s)
	svc.deployments = append(svc.deployments, d)
	e.deployments.add(d)
	e.running.Go(func() { e.run(svc, d) })
	return d, nil
}

// run takes a deployment through its life.
func (e *Engine) run(svc *service, d *Deployment) {
	log := e.opts.Logger.With(zap.String("service", svc.name), zap.String("deployment", d.id))
	log.Info("deployment accepted", zap.Stringers("targets", d.spec.targets))
	err := e.advance(svc, d)

	e.mu.Lock()
	svc.deployments = slices.DeleteFunc(svc.deployments, func(o *Deployment) bool { return o == d })
	if d.release == nil {
		e.free(d.spec.routes)
	}
	e.forgetIfUnused(svc)
	serving := svc.servingVersion()
	e.mu.Unlock()

	d.finish(err, serving)
	e.outcomes.count(d.Status().State)
	if err != nil {
		log.Warn("deployment ended", zap.String("state", string(d.Status().State)), zap.Error(err))
		return
	}
	log.Info("deployment done", zap.Int("release", d.Status().Release))
}

// advance does the steps of a deployment in their order. A certificate, once
// there are any, is obtained between the gate and the commit.
func (e *Engine) advance(svc *service, d *Deployment) error {
	candidate := e.newRelease(d.spec, 0, time.Time{})
	if !d.spec.force {
		if err := d.passGate(candidate); err != nil {
			candidate.close()
			return err
		}
	}
	old, err := e.commit(svc, d, candidate)
	if err != nil {
		candidate.close()
		return err
	}
	return e.drainOld(svc, d, old)
}

// commit stores the release and switches to it. Only one operation of a service
// commits at a time; from the moment that d has the slot, it can no longer be
// superseded or cancelled.
func (e *Engine) commit(svc *service, d *Deployment, next *Release) (old *Release, err error) {
	select {
	case svc.committing <- struct{}{}:
	case <-d.ctx.Done():
		return nil, context.Cause(d.ctx)
	}
	defer func() { <-svc.committing }()

	e.mu.Lock()
	if !d.pointOfNoReturn() {
		e.mu.Unlock()
		return nil, context.Cause(d.ctx)
	}
	next.version, next.deployedAt = svc.lastVersion+1, time.Now().UTC()
	if svc.active != nil {
		old = svc.active.active.Load()
	}
	e.mu.Unlock()

	if err := e.save(next); err != nil {
		return nil, &Error{
			Code:    CodeStorage,
			Message: fmt.Sprintf("storing the release failed: %s", Printable(err.Error())),
			Hint:    "check the free space and the permissions of the storage directory; nothing has changed",
			cause:   err,
		}
	}

	start := time.Now()
	e.mu.Lock()
	e.switchTo(svc, next)
	d.release = next
	// A release that is in service keeps the claims of its deployment; those of
	// its predecessor are free.
	if old != nil {
		e.free(old.routes)
		svc.draining = append(svc.draining, old)
	}
	e.mu.Unlock()
	took := since(start)

	next.startMonitor(e, time.Duration(next.options.HealthCheckInterval))
	d.switched(old, next, took)
	return old, nil
}

// switchTo makes next the active release of svc: one atomic store, whether the
// routes have changed or not. Engine.mu must be held.
func (e *Engine) switchTo(svc *service, next *Release) {
	svc.lastVersion = next.version
	svc.broken = nil
	if svc.active != nil && sameRoutes(svc.active.routes, next.routes) {
		svc.active.active.Store(next)
		return
	}
	c := newClaim(next)
	t := e.table.Load()
	if svc.active != nil {
		t = t.without(svc.active)
	}
	e.table.Store(t.with(c))
	svc.active = c
}

func sameRoutes(a, b []Route) bool {
	if len(a) != len(b) {
		return false
	}
	for _, r := range a {
		if !slices.Contains(b, r) {
			return false
		}
	}
	return true
}

// drainOld drains the release that d has replaced and waits for every older one
// of the service that still drains, so that all of them may be removed when d is
// done.
func (e *Engine) drainOld(svc *service, d *Deployment, old *Release) error {
	e.mu.Lock()
	before := slices.DeleteFunc(slices.Clone(svc.draining), func(r *Release) bool { return r == old })
	e.mu.Unlock()
	if old != nil {
		d.drained(e.drainRelease(svc, old, d.spec.drain, d.drainProgress))
	}
	for _, r := range before {
		<-r.drained
	}
	if drains := d.Status().Drained; len(drains) > 0 && !drains[0].clean() {
		return drainError(d.spec.service, drains[0])
	}
	return nil
}

// drainRelease drains a release and takes it off the service's record.
func (e *Engine) drainRelease(svc *service, r *Release, limits drainLimits, progress func(requests, streams int)) Drain {
	result := r.drain(limits, progress)
	e.mu.Lock()
	svc.draining = slices.DeleteFunc(svc.draining, func(o *Release) bool { return o == r })
	svc.retired += r.served.Load()
	e.mu.Unlock()
	close(r.drained)
	return result
}

func drainError(service string, d Drain) error {
	return &Error{
		Code:    CodeDrainTimeout,
		Message: fmt.Sprintf("%s v%d did not drain in time: %s", service, d.Release, d.cutSummary()),
		Hint:    "raise --drain-timeout if requests need longer, or --stream-timeout for streams",
	}
}

func (d Drain) cutSummary() string {
	return fmt.Sprintf("%s and %s were cut", Count(d.CutRequests, "request"), Count(d.CutStreams, "stream"))
}

// Count writes a number of things: "1 request", "2 requests".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (s *service) servingVersion() int {
	if s.active == nil {
		return 0
	}
	return s.active.active.Load().version
}

// passGate probes every target of a release until all are healthy, the deploy
// timeout is over or the deployment is ended.
func (d *Deployment) passGate(r *Release) error {
	d.enter(StateProbing)
	ctx, cancel := context.WithTimeoutCause(d.ctx, d.spec.deployTimeout, errDeployTimeout)
	defer cancel()
	reports := make([]ProbeReport, len(r.upstreams))
	var gates sync.WaitGroup
	for i, u := range r.upstreams {
		gates.Go(func() {
			reports[i] = u.untilHealthy(ctx, time.Duration(r.options.HealthCheckInterval), d.probeFailed)
			if reports[i].Healthy {
				d.targetHealthy(reports[i])
			}
		})
	}
	gates.Wait()
	d.setProbes(reports)
	if ctx.Err() == nil || allHealthy(reports) {
		d.enter(StateHealthy)
		return nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, errDeployTimeout) {
		return cause
	}
	return notHealthy(d.spec, reports)
}

var errDeployTimeout = errors.New("deploy timeout")

func allHealthy(reports []ProbeReport) bool {
	return !slices.ContainsFunc(reports, func(r ProbeReport) bool { return !r.Healthy })
}

// gatePause is the pause between two probes of a target that is booting. It
// bounds how long readiness can go unnoticed.
const gatePause = 50 * time.Millisecond

// untilHealthy probes u until it is healthy or ctx ends. A target that does not
// accept connections costs nothing to ask, so it is asked every 50ms; one that
// answers, though not well, is asked less and less often, so that the checks
// never delay a switch by more than a twentieth of the boot time.
func (u *upstream) untilHealthy(ctx context.Context, interval time.Duration, failed func(target, reason string)) ProbeReport {
	report := ProbeReport{Target: u.target.String(), URL: u.prober.url}
	start := time.Now()
	for {
		result := u.prober.probe(ctx)
		if ctx.Err() != nil && !result.ok() {
			break // the probe was interrupted: its failure says nothing
		}
		report.Probes++
		if result.ok() {
			u.observe(result, time.Now())
			report.Healthy = true
			break
		}
		report.add(result.reason)
		if n := len(report.Failures); report.Failures[n-1].Count == 1 {
			failed(report.Target, result.reason)
		}
		pause := gatePause
		if !result.unreachable {
			pause = max(pause, time.Since(start)/20)
		}
		if !sleep(ctx, min(pause, interval)) {
			break
		}
	}
	report.Elapsed = since(start)
	return report
}

// sleep waits for d, or until ctx ends, in which case it returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// notHealthy explains a gate that did not open.
func notHealthy(s spec, reports []ProbeReport) *Error {
	var failing []string
	for _, r := range reports {
		if !r.Healthy {
			failing = append(failing, r.Target)
		}
	}
	subject := failing[0] + " was"
	if len(failing) > 1 {
		subject = fmt.Sprintf("%d of %d targets were", len(failing), len(reports))
	}
	return &Error{
		Code:    CodeNotHealthy,
		Message: fmt.Sprintf("%s not healthy within %s", subject, s.deployTimeout),
		Hint:    healthHint(reports),
		Details: reports,
	}
}

// healthHint says what the last failure of a target suggests.
func healthHint(reports []ProbeReport) string {
	for _, r := range reports {
		if r.Healthy || len(r.Failures) == 0 {
			continue
		}
		last := r.Failures[len(r.Failures)-1].Reason
		switch {
		case last == "connection refused" || last == "no such socket":
			return "nothing listens there: check that the app is running and listens on this port, and on all interfaces"
		case strings.Contains(last, "does not resolve"):
			return "check the name, and that the proxy is in the same network as the app"
		case strings.Contains(last, "redirect"):
			return "point --health-check-path at a page that answers 200 itself"
		case strings.Contains(last, "404"):
			return "the app is up but has no such page; set --health-check-path"
		case strings.Contains(last, "400"), strings.Contains(last, "403"), strings.Contains(last, "421"):
			return "the app may refuse the Host header; set --health-check-host"
		case strings.Contains(last, "no answer within"), strings.Contains(last, "timed out"):
			return "the app is too slow or a firewall drops the packets; see --health-check-timeout and --deploy-timeout"
		}
	}
	return "the app is up but its health check fails; see its log, or set --health-check-path"
}
