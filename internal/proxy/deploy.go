package proxy

import (
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Deploy accepts a deployment, or says why not: the request is invalid, or
// another service owns one of its routes. What p does not name, the service keeps.
// Accepting it ends every older deployment of the same service that has not begun to
// commit. The deployment goes on by itself; see [Deployment.Wait].
func (e *Engine) Deploy(p api.Patch) (*Deployment, error) { return e.deploy(p, 0, "") }

// DeployIfMatch is [Engine.Deploy] if the service is still in the generation that the caller
// has seen, which it has as an entity tag; an empty one is any. It returns an [api.Error] with
// [api.CodeChanged] otherwise.
func (e *Engine) DeployIfMatch(p api.Patch, ifMatch string) (*Deployment, error) {
	return e.deploy(p, 0, ifMatch)
}

// DeployAs is [Engine.DeployIfMatch] for a deployment that another process has accepted by that
// id, and has not begun to commit.
func (e *Engine) DeployAs(id string, p api.Patch, ifMatch string) (*Deployment, error) {
	return e.deployAs(id, p, 0, ifMatch)
}

// deploy is Deploy, also for a rollback to a release, which is 0 for any other deployment.
func (e *Engine) deploy(p api.Patch, rollbackTo int, ifMatch string) (*Deployment, error) {
	return e.deployAs(newDeploymentID(), p, rollbackTo, ifMatch)
}

func (e *Engine) deployAs(id string, p api.Patch, rollbackTo int, ifMatch string) (*Deployment, error) {
	for {
		s, from, err := e.resolve(p)
		if err != nil {
			return nil, err
		}
		if err := e.checkFleet(s); err != nil {
			return nil, err
		}
		e.mu.Lock()
		d, uptodate, err := e.accept(id, p, s, from, ifMatch)
		if d != nil {
			d.status.From = rollbackTo
			svc := e.services[s.Service]
			e.operations.Go(func() { e.run(svc, d) })
		}
		e.mu.Unlock()
		if uptodate {
			return d, err
		}
	}
}

// run takes a deployment through its life.
func (e *Engine) run(svc *service, d *Deployment) {
	log := e.log().With(zap.String("service", svc.name), zap.String("deployment", d.id))
	log.Info("deployment accepted", zap.Stringers("targets", d.spec.AllTargets()))
	next := e.newRelease(d.spec)
	next.from = d.status.From
	err := (&operation{e: e, svc: svc, d: d, next: next, ballot: noBallot{}}).run()

	e.end(svc, d, err)
	if err != nil {
		log.Warn("deployment ended", zap.String("state", string(d.Status().State)), zap.Error(err))
		return
	}
	log.Info("deployment done", zap.Int("release", d.Status().Release))
}
