package api

import (
	"fmt"
	"time"
)

// DrainLimits bounds the drain of a release.
type DrainLimits struct {
	// Requests is the time that requests have before the proxy cuts them.
	Requests time.Duration
	// Streams is the time after which streams have been asked to close.
	Streams time.Duration
}

// Drain tells what became of the traffic of a release that was replaced.
type Drain struct {
	// Service is the service of the release that drained, if it is another one: its routes
	// were taken over.
	Service string `json:"service,omitempty"`
	// Release and Targets are the release that drained.
	Release int      `json:"release"`
	Targets []string `json:"targets"`
	// Requests and Streams are what was in flight when the drain began.
	Requests int `json:"requests"`
	Streams  int `json:"streams"`
	// CutRequests and CutStreams are those of them that did not end in time.
	CutRequests int     `json:"cut_requests,omitempty"`
	CutStreams  int     `json:"cut_streams,omitempty"`
	Elapsed     Seconds `json:"elapsed_seconds"`
}

// Clean reports whether nothing had to be cut.
func (d Drain) Clean() bool { return d.CutRequests == 0 && d.CutStreams == 0 }

// Add adds what another process or release has held to d. Elapsed is that of the slower one.
func (d *Drain) Add(other Drain) {
	d.Requests += other.Requests
	d.Streams += other.Streams
	d.CutRequests += other.CutRequests
	d.CutStreams += other.CutStreams
	d.Elapsed = max(d.Elapsed, other.Elapsed)
}

// Cut tells how much had to be cut because its time was over.
type Cut struct {
	Requests int `json:"requests"`
	Streams  int `json:"streams"`
}

// String says how much had to be cut.
func (c Cut) String() string {
	verb := "were"
	if c.Requests+c.Streams == 1 {
		verb = "was"
	}
	switch {
	case c.Streams == 0:
		return fmt.Sprintf("%s %s cut", Count(c.Requests, "request"), verb)
	case c.Requests == 0:
		return fmt.Sprintf("%s %s cut", Count(c.Streams, "stream"), verb)
	}
	return fmt.Sprintf("%s and %s %s cut", Count(c.Requests, "request"), Count(c.Streams, "stream"), verb)
}

// CutOf returns how much had to be cut in all of the drains, or nil if nothing had to be.
func CutOf(drains ...Drain) *Cut {
	var all Cut
	for _, d := range drains {
		all.Requests += d.CutRequests
		all.Streams += d.CutStreams
	}
	if all == (Cut{}) {
		return nil
	}
	return &all
}
