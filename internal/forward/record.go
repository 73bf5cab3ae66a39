package forward

import "time"

// Record is what became of a request, for a log.
type Record struct {
	Service string
	Release int
	// Target is the last one that the request was sent to; empty if it came to none.
	Target string
	// RequestID is what the target was told as X-Request-Id.
	RequestID string
	// UpstreamDuration is the time from the last attempt to send the request to the
	// beginning of the answer, or to the failure.
	UpstreamDuration time.Duration
}

// maxRequestID bounds what is kept of an id, which the client may have chosen.
const maxRequestID = 256

// recordOf returns the record of x, which has not left its target yet.
func (x *exchange) recordOf() Record {
	r := Record{Service: x.release.Spec.Service, Release: x.release.Version, UpstreamDuration: x.answeredIn}
	if x.upstream != nil {
		r.Target = x.upstream.target.String()
	}
	if x.pooled != nil {
		if id := x.pooled.fields["X-Request-Id"]; len(id) > 0 {
			r.RequestID = id[0][:min(len(id[0]), maxRequestID)]
		}
	}
	return r
}

// beginAttempt notes when the request is sent to a target, if anybody wants to know.
func (x *exchange) beginAttempt() {
	if x.from.Record != nil {
		x.sentAt = time.Now()
	}
}

// endAttempt notes how long the target took to begin its answer.
func (x *exchange) endAttempt() {
	if x.from.Record != nil {
		x.answeredIn = time.Since(x.sentAt)
	}
}
