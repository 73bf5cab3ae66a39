package forward

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// soloInterval is the longest pause between two probes of a target that has no
// sibling. Its health is shown, but changes nothing: with nowhere else to send a
// request, a failing target is still the best there is.
const soloInterval = time.Minute

// pauseAfter returns how long to wait before the next probe of a target with health h
// at the time now.
func (m *monitor) pauseAfter(h health, solo bool, now time.Time) time.Duration {
	switch {
	case !solo:
		return m.interval
	case h.state == api.HealthFailing:
		// That it is back is noticed within a tenth of the time that it was away.
		return max(m.interval, min(soloInterval, now.Sub(h.since)/10))
	case h.state == api.HealthHealthy:
		return max(m.interval, soloInterval)
	}
	return m.interval
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
	pause := m.pauseAfter(h, len(r.upstreams) == 1, time.Now())
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
	m.stopped = true
	if m.timer != nil {
		m.timer.Stop()
	}
	m.mu.Unlock()
	m.ended.end()
	m.probing.Wait()
}
