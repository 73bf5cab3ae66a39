package proxy

import (
	"slices"
	"sync/atomic"

	"github.com/parachute-proxy/parachute/internal/api"
)

// recentDeployments is how many deployments that have ended can still be asked
// about.
const recentDeployments = 256

// deploymentLog finds deployments by their id. It is guarded by Engine.mu.
type deploymentLog struct {
	byID  map[string]*Deployment
	order []*Deployment
}

func newDeploymentLog() *deploymentLog {
	return &deploymentLog{byID: make(map[string]*Deployment)}
}

// add remembers d and forgets the oldest that have ended.
func (l *deploymentLog) add(d *Deployment) {
	l.byID[d.id] = d
	l.order = append(l.order, d)
	for i := 0; i < len(l.order) && len(l.order) > recentDeployments; {
		if !l.order[i].Status().State.Final() {
			i++ // a drain can take a day
			continue
		}
		delete(l.byID, l.order[i].id)
		l.order = slices.Delete(l.order, i, i+1)
	}
}

// failed returns the last deployment of a service that has ended, if it failed; nil
// otherwise. One that was superseded is not the last, whenever it ends.
func (l *deploymentLog) failed(service string) *api.DeploymentStatus {
	for _, d := range slices.Backward(l.order) {
		if d.spec.Service != service {
			continue
		}
		switch status := d.Status(); status.State {
		case api.StateFailed, api.StateReverted:
			return &status
		case api.StateDone, api.StateCancelled, api.StateUndecided:
			return nil
		}
	}
	return nil
}

// deploymentCounters count deployments by how they ended.
type deploymentCounters struct {
	done, failed, superseded, cancelled, reverted, undecided atomic.Int64
}

func (c *deploymentCounters) count(s api.State) {
	switch s {
	case api.StateDone:
		c.done.Add(1)
	case api.StateSuperseded:
		c.superseded.Add(1)
	case api.StateCancelled:
		c.cancelled.Add(1)
	case api.StateReverted:
		c.reverted.Add(1)
	case api.StateUndecided:
		c.undecided.Add(1)
	default:
		c.failed.Add(1)
	}
}
