package forward

import (
	"context"
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
func pauseAfter(h health, interval time.Duration, solo int) time.Duration {
	if h.state == api.HealthHealthy && h.failures > 0 {
		return interval // it may be about to fail
	}
	return max(interval, min(soloInterval, time.Duration(solo)*soloTurn))
}

// monitor watches the health of one upstream after the switch. It is a timer
// and not a goroutine, because ten thousand services have ten thousand.
type monitor struct {
	// mu guards what follows.
	mu    sync.Mutex
	timer *time.Timer
	due   time.Time // when timer fires
	// of is the release that the watch is for: the newest of those that have the target.
	of *Release
	// alone says that the target has no sibling there, and therefore takes turns.
	alone   bool
	stopped bool
	// interrupt ends the probe that is under way; nil if there is none.
	interrupt context.CancelFunc
	// probing counts the probe that is under way.
	probing sync.WaitGroup
}

// release returns the release that the watch is for.
func (m *monitor) release() *Release {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of
}

// interval returns the time between two probes. It is the same for all releases that share
// the target. mu must be held.
func (m *monitor) interval() time.Duration {
	return time.Duration(m.of.Spec.Options.HealthCheckInterval)
}

// start makes the first probe after delay, if the watch is for r.
func (m *monitor) start(r *Release, u *upstream, delay time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of != r || m.stopped || m.timer != nil {
		return
	}
	m.setAlone(len(r.upstreams) == 1)
	m.due = time.Now().Add(delay)
	m.timer = time.AfterFunc(delay, func() { m.probe(u) })
}

// setAlone has the target take turns, or no longer. mu must be held.
func (m *monitor) setAlone(alone bool) {
	solo := &m.of.forwarder.solo
	switch {
	case alone && !m.alone:
		solo.Add(1)
	case !alone && m.alone:
		solo.Add(-1)
	}
	m.alone = alone
}

// handTo has the watch go on for next, which tells of the health from here on. It reports
// false if the watch is over.
func (m *monitor) handTo(next *Release) bool {
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return false
	}
	m.of = next
	joined := m.alone && len(next.upstreams) > 1
	if m.timer != nil {
		m.setAlone(len(next.upstreams) == 1)
	}
	m.mu.Unlock()
	if joined { // its next turn may be a minute away
		m.hasten()
	}
	return true
}

// hasten makes the next probe come soon: traffic has met a failure that a probe
// has to take back.
func (m *monitor) hasten() {
	m.mu.Lock()
	defer m.mu.Unlock()
	interval := m.interval()
	soon := time.Now().Add(interval)
	// A timer that has fired is set again by its probe.
	if !m.stopped && m.timer != nil && m.due.After(soon) && m.timer.Stop() {
		m.timer.Reset(interval)
		m.due = soon
	}
}

func (m *monitor) probe(u *upstream) {
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return
	}
	m.probing.Add(1)
	forwarder := m.of.forwarder
	ctx, cancel := context.WithCancel(context.Background())
	m.interrupt = cancel
	m.mu.Unlock()
	defer m.probing.Done()
	defer cancel()

	select {
	case forwarder.probeSlots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	began := time.Now()
	result := u.prober().probe(ctx)
	<-forwarder.probeSlots
	if ctx.Err() != nil {
		return
	}
	h, changed := u.observe(result, began)
	if changed {
		forwarder.opts.HealthChanged(m.release(), u.target, h.state, h.reason)
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	m.interrupt = nil
	solo := 0
	if m.alone {
		solo = int(forwarder.solo.Load())
	}
	pause := pauseAfter(h, m.interval(), solo)
	if !m.stopped {
		// Spread the probes, so that targets which were deployed together are
		// not asked together for ever.
		pause -= time.Duration(rand.Int64N(int64(pause/10) + 1))
		m.timer.Reset(pause)
		m.due = time.Now().Add(pause)
	}
}

// stop ends the watch, if it is for r, and waits for a probe that is under way, which it
// cancels.
func (m *monitor) stop(r *Release) {
	m.mu.Lock()
	if m.of != r {
		m.mu.Unlock()
		return
	}
	m.setAlone(false)
	m.stopped = true
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.interrupt != nil {
		m.interrupt()
	}
	m.mu.Unlock()
	m.probing.Wait()
}
