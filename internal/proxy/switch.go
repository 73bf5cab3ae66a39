package proxy

// switchTo makes next the line-up of svc, with the routes that were taken from others: one
// atomic store, whether the routes have changed or not. Engine.mu must be held.
func (e *Engine) switchTo(svc *service, next *lineup, taken []takeover) {
	svc.lastVersion = next.lastVersion(svc.lastVersion)
	svc.generation++
	svc.broken, svc.known = nil, nil
	before := svc.hold()
	if len(taken) == 0 && svc.active != nil && sameRoutes(svc.active.routes, next.active.Spec.Routes) {
		svc.active.lineup.Store(next)
		if before != next.hold {
			before.end()
		}
		return
	}
	next.hold = next.hold.again()
	c := newClaim(next)
	t, ended := e.without(e.table.Load(), taken)
	if svc.active != nil {
		t = t.without(svc.active)
	}
	e.table.Store(t.with(c))
	svc.active = c
	for _, h := range append(ended, before) {
		h.end()
	}
}

// without returns t without what is taken from others, and with what they have left, and
// the holds that end with that. Engine.mu must be held.
func (e *Engine) without(table *table, taken []takeover) (_ *table, ended []*hold) {
	for _, t := range taken {
		if t.from == nil {
			continue
		}
		before := t.svc.hold()
		ended = append(ended, before)
		table = table.without(t.svc.active)
		t.svc.active = nil
		if t.left == nil {
			t.svc.beginDrain(t.from)
			continue
		}
		t.svc.active = newClaim(&lineup{active: t.left, hold: before.again()})
		table = table.with(t.svc.active)
	}
	return table, ended
}
