package api

// ProbeReport tells what the probes of one target found.
type ProbeReport struct {
	// Target is the target's address, URL what was asked of it.
	Target string `json:"target"`
	URL    string `json:"url"`
	// Healthy says whether the last probe succeeded.
	Healthy bool `json:"healthy"`
	// Probes is the number of probes, Elapsed the time from the first to the
	// end of the last.
	Probes  int     `json:"probes"`
	Elapsed Seconds `json:"elapsed_seconds"`
	// Failures are the reasons why probes failed, in their order; a reason that
	// repeats itself is counted.
	Failures []ProbeFailure `json:"failures,omitempty"`
}

// ProbeFailure is a reason and how many probes in a row failed for it.
type ProbeFailure struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// MaxProbeFailures bounds the reasons that a report remembers.
const MaxProbeFailures = 20

// RepeatFailure counts a failure for the same reason as the last one, in new words.
func (p *ProbeReport) RepeatFailure(reason string) {
	last := &p.Failures[len(p.Failures)-1]
	last.Reason = reason
	last.Count++
}

// AddFailure remembers a failure.
func (p *ProbeReport) AddFailure(reason string) {
	if n := len(p.Failures); n > 0 && (p.Failures[n-1].Reason == reason || n == MaxProbeFailures) {
		p.Failures[n-1].Reason = reason
		p.Failures[n-1].Count++
		return
	}
	p.Failures = append(p.Failures, ProbeFailure{Reason: reason, Count: 1})
}
