package proxy

import (
	"slices"

	"go.uber.org/zap"
)

// settle resolves conflicts between stored releases: when the proxy was killed between two
// writes of a switch that moved routes, or one of them failed, both services have them. They
// belong to the one that has taken them, if it is the newer one. It stores nothing; see
// [Engine.storeSettled].
func (e *Engine) settle(releases []*release) []*release {
	byName := make(map[string]*release, len(releases))
	var takers []*release
	for _, r := range releases {
		byName[r.Spec.Service] = r
		if len(r.takenFrom) > 0 {
			takers = append(takers, r)
		}
	}
	slices.SortFunc(takers, func(a, b *release) int { return b.DeployedAt.Compare(a.DeployedAt) })
	for _, taker := range takers {
		taker = byName[taker.Spec.Service]
		if taker == nil {
			continue // newer ones have taken all that it had
		}
		for _, name := range taker.takenFrom {
			from := byName[name]
			if from == nil || from.DeployedAt.After(taker.DeployedAt) {
				continue
			}
			if t, ok := e.settled(taker, from); ok {
				byName[name] = t.left
				e.unsettled = append(e.unsettled, t)
			}
		}
	}
	var settled []*release
	for _, r := range releases {
		if r = byName[r.Spec.Service]; r != nil {
			settled = append(settled, r)
		}
	}
	return settled
}

// settled returns what is left of from, which another release has taken routes from. It
// returns false if they have none in common, or if what is left could not be.
func (e *Engine) settled(taker, from *release) (takeover, bool) {
	routes := common(from.Spec.Routes, taker.Spec.Routes)
	left, err := from.Spec.Without(routes)
	if len(routes) == 0 || err != nil {
		return takeover{}, false
	}
	t := takeover{svc: &service{name: from.Spec.Service}, from: from, hold: from.restored.hold, routes: routes}
	if left != nil {
		t.left = from.with(left)
		t.left.restored = &lineup{active: t.left, hold: t.hold}
		t.left.lastVersion = from.restored.lastVersion(from.lastVersion)
	} else {
		from.Close()
	}
	for _, r := range from.restored.releases()[1:] {
		r.Close() // another release of the service has the routes no more either
	}
	e.log().Info("routes belong to the service that took them over",
		zap.String("service", taker.Spec.Service), zap.String("from", t.svc.name), zap.Stringers("routes", routes))
	return t, true
}

// storeSettled stores what settle has found out.
func (e *Engine) storeSettled() {
	e.mu.Lock()
	unsettled := e.unsettled
	e.unsettled = nil
	e.mu.Unlock()
	for _, t := range unsettled {
		if err := e.storeLeft(t); err != nil {
			e.log().Warn("the remaining routes of a service could not be stored; the next start tries again",
				zap.String("service", t.svc.name), zap.Error(err))
		}
	}
}
