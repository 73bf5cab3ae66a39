package forward

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// The health of a target that has no sibling is shown, but changes nothing: with nowhere
// else to send a request, a failing target is still the best there is. If there are many
// such targets, they take turns: one is probed every soloTurn, and none less often than
// once in soloInterval, unless its own interval is longer.
const (
	soloTurn     = 10 * time.Millisecond
	soloInterval = time.Minute
)

// pauseAfter returns how long to wait before the next probe of a target with health h, of
// which there are solo without a sibling; 0 if it has one.
func (m *monitor) pauseAfter(h health, solo int) time.Duration {
	if h.state == api.HealthHealthy && h.failures > 0 {
		return m.interval // it may be about to fail
	}
	return max(m.interval, min(soloInterval, time.Duration(solo)*soloTurn))
}

// monitor watches the health of one upstream after the switch. It is a timer
// and not a goroutine, because ten thousand services have ten thousand.
type monitor struct {
	// mu guards what follows.
	mu       sync.Mutex
	timer    *time.Timer
	due      time.Time // when timer fires
	interval time.Duration
	stopped  bool
	// leave gives up the turn of a target without a sibling; nil if it has none.
	leave func()
	// probing counts the probe that is under way.
	probing sync.WaitGroup
	// ended ends the probe that is under way.
	ended endSignal
}

// start makes the first probe after delay.
func (m *monitor) start(r *Release, u *upstream, delay time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || m.timer != nil {
		return
	}
	if len(r.upstreams) == 1 {
		solo := &r.forwarder.solo
		solo.Add(1)
		m.leave = func() { solo.Add(-1) }
	}
	m.interval = time.Duration(r.Spec.Options.HealthCheckInterval)
	m.due = time.Now().Add(delay)
	m.timer = time.AfterFunc(delay, func() { m.probe(r, u) })
}

// hasten makes the next probe come soon: traffic has met a failure that a probe
// has to take back.
func (m *monitor) hasten() {
	m.mu.Lock()
	defer m.mu.Unlock()
	soon := time.Now().Add(m.interval)
	// A timer that has fired is set again by its probe.
	if !m.stopped && m.timer != nil && m.due.After(soon) && m.timer.Stop() {
		m.timer.Reset(m.interval)
		m.due = soon
	}
}

func (m *monitor) probe(r *Release, u *upstream) {
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return
	}
	m.probing.Add(1)
	m.mu.Unlock()
	defer m.probing.Done()

	select {
	case r.forwarder.probeSlots <- struct{}{}:
	case <-m.ended.Done():
		return
	}
	began := time.Now()
	result := u.prober.probe(&m.ended)
	<-r.forwarder.probeSlots
	if m.ended.Err() != nil {
		return
	}
	h, changed := u.observe(result, began)
	if changed {
		r.forwarder.opts.HealthChanged(r, u.target, h.state, h.reason)
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	solo := 0
	if m.leave != nil {
		solo = int(r.forwarder.solo.Load())
	}
	pause := m.pauseAfter(h, solo)
	if !m.stopped {
		// Spread the probes, so that targets which were deployed together are
		// not asked together for ever.
		pause -= time.Duration(rand.Int64N(int64(pause/10) + 1))
		m.timer.Reset(pause)
		m.due = time.Now().Add(pause)
	}
}

// stop ends the watch and waits for a probe that is under way, which it cancels.
func (m *monitor) stop() {
	m.mu.Lock()
	if m.leave != nil && !m.stopped {
		m.leave()
	}
	m.stopped = true
	if m.timer != nil {
		m.timer.Stop()
	}
	m.mu.Unlock()
	m.ended.end()
	m.probing.Wait()
}
