package proxy

import "time"

// startTurn is the time between the first probes of two releases after a start. If ten
// thousand were due at once, ten thousand goroutines would wait for each other, and the
// runtime never gives back what it has made for them.
const startTurn = time.Millisecond

// Start begins to watch the health of the services that were loaded. Calls after
// the first do nothing.
func (e *Engine) Start() {
	e.mu.Lock()
	if !e.life.become(lifeRunning) {
		e.mu.Unlock()
		return
	}
	var lineups []*lineup
	for _, s := range e.services {
		if l := s.lineup(); l != nil {
			lineups = append(lineups, l)
		}
	}
	follows := e.following
	e.mu.Unlock()
	if !follows {
		e.storeSettled()
		e.runRollouts()
	}
	turn := time.Duration(0)
	for _, l := range lineups {
		for _, r := range l.releases() {
			r.StartMonitor(turn)
			turn += startTurn
		}
		e.keepCertificates(l.active)
	}
	go e.sampleOutcomes()
}

// sampleOutcomes notes, until the engine stops, how the requests of the releases that serve
// have ended, so that a new release can be compared with the last hour of the one before.
func (e *Engine) sampleOutcomes() {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-e.stopped:
			return
		}
		e.mu.Lock()
		for _, s := range e.services {
			if r := s.release(); r != nil && r.Outcomes() != nil {
				r.sample()
			}
		}
		e.mu.Unlock()
	}
}
