package forward

import "time"

// Record is what became of a request, for a log.
type Record struct {
	Service string
	Release int
	// Target is the last one that the request was sent to; empty if it came to none.
	Target string
	// RequestID is what the target was told as X-Request-Id, or would have been if a handler of the
	// service had not answered.
	RequestID string
	// Reason is why a handler of the service has refused the request; empty if none has.
	Reason string
	// UpstreamDuration is the time from the last attempt to send the request to the
	// beginning of the answer, or to the failure.
	UpstreamDuration time.Duration
	// Logged are the header fields that a log has besides; nil if the service names none.
	Logged *LoggedFields
}

// LoggedFields are names of header fields, of requests and of answers.
type LoggedFields struct{ Request, Response []string }

// Record returns what a log says of every request to r.
func (r *Release) Record() Record {
	return Record{Service: r.Spec.Service, Release: r.Version, Logged: r.logged}
}
