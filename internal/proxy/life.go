package proxy

import (
	"slices"
	"sync/atomic"
)

// life is where an engine stands between its making and its end.
type life int32

const (
	// lifeLoaded has been made, and may serve what was stored. It watches nothing yet.
	lifeLoaded life = iota
	// lifeRunning watches targets and takes deployments.
	lifeRunning
	// lifeStopping takes no deployments and no other operations. Requests are served up to
	// the end of the process.
	lifeStopping
	// lifeRetired is as lifeStopping, but the host goes on without the engine: releases that
	// serve may be draining without a successor.
	lifeRetired
)

// lives says what leads where. An engine is never younger than it was.
var lives = map[life][]life{
	lifeLoaded:   {lifeRunning, lifeStopping, lifeRetired},
	lifeRunning:  {lifeStopping, lifeRetired},
	lifeStopping: {lifeRetired},
	lifeRetired:  {},
}

// leadsTo reports whether next may follow l.
func (l life) leadsTo(next life) bool { return slices.Contains(lives[l], next) }

// takesOperations reports whether services can be changed.
func (l life) takesOperations() bool { return l < lifeStopping }

// lifetime is the life of one engine, from lifeLoaded on. Requests look at it without a lock;
// Engine.mu is held while it changes.
type lifetime struct{ current atomic.Int32 }

func (t *lifetime) now() life { return life(t.current.Load()) }

// become makes next what the engine is, and reports whether it may. Engine.mu must be held.
func (t *lifetime) become(next life) bool {
	if !t.now().leadsTo(next) {
		return false
	}
	t.current.Store(int32(next))
	return true
}
