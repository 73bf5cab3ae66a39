package proxy

import "time"

const (
	// sampleInterval is how often it is noted how many requests have failed so far, and
	// maxSamples for how many times that is remembered: for an hour in all.
	sampleInterval = 10 * time.Minute
	maxSamples     = 6
	// minTimed is how many requests must have been timed before it is known what is slow.
	minTimed = 100
	// usual is the share of requests that are not slow.
	usual = 0.95
)

// sample is how many requests of a release have been answered and have failed up to a moment.
type sample struct{ requests, failures int64 }

// samples are those of the last hour, the oldest first.
type samples []sample

// sample notes how the requests of r have ended so far. Engine.mu must be held.
func (r *release) sample() {
	requests, failures := r.Outcomes().Counts()
	if r.samples == nil { // most releases of ten thousand have no requests for long
		r.samples = new(samples)
	}
	all := append(*r.samples, sample{requests, failures})
	*r.samples = all[max(0, len(all)-maxSamples):]
}

// lastHour returns how the requests of r have ended in the last hour, or since it serves.
// Engine.mu must be held.
func (r *release) lastHour() (requests, failures int64) {
	requests, failures = r.Outcomes().Counts()
	if r.samples != nil && len(*r.samples) == maxSamples {
		oldest := (*r.samples)[0]
		requests -= oldest.requests
		failures -= oldest.failures
	}
	return requests, failures
}

// slowerThan returns from when on a request is slow, going by those to r; 0 if there were too
// few to tell.
func (r *release) slowerThan() time.Duration {
	took, of := r.Outcomes().Within(usual)
	if of < minTimed {
		return 0
	}
	return took
}
