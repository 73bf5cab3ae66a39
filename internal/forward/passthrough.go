package forward

import (
	"net/http"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/http1"
	"github.com/parachute-proxy/parachute/internal/passthrough"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// passed is a request that is passed through. It is lent for that time.
type passed struct {
	exchange transport.PassedThrough
	// head is that of the request to the target, which ends with the value of X-Request-Id and two line ends.
	head []byte
	// fields are those of the answer that the client gets, if somebody wants to know.
	fields []http1.Field
}

// maxPassedHead is the largest head of a request, in bytes, whose buffer is kept for the next one.
const maxPassedHead = 16 << 10

var passedPool = sync.Pool{New: func() any { return new(passed) }}

func (p *passed) release() {
	if cap(p.head) <= maxPassedHead {
		passedPool.Put(p)
	}
}

// Begun is a request that was to be passed through, but has to go on as an ordinary one.
type Begun struct {
	// upstream is the target that has been chosen. The request is counted there.
	upstream *upstream
	// passed is what has been sent to it; nil if it has no connection that waits for a request.
	passed *passed
	// At is when the request came.
	At time.Time
}

// requestID returns the X-Request-Id that the target has been sent.
func (p *passed) requestID() string {
	id := p.head[:len(p.head)-len("\r\n\r\n")]
	return string(id[len(id)-requestIDSize:])
}

// sentID returns the X-Request-Id that a target has been sent; empty if none has. b may be nil.
func (b *Begun) sentID() string {
	if b == nil || b.passed == nil {
		return ""
	}
	return b.passed.requestID()
}

// PassesThrough reports whether nothing that r was deployed with needs more of a request, or of its answer,
// than that it is passed on.
func (r *Release) PassesThrough() bool { return r.passes && r.judge.Load() == nil }

// passesThrough is PassesThrough for what never changes.
func (r *Release) passesThrough() bool {
	o := &r.Spec.Options
	return r.plain && !o.Sticky && !r.hasReadTargets() && !o.ForwardHeaders && o.ClientIPHeader == "" &&
		r.intercepted == nil && r.logged == nil && o.MaxResponseBody == 0 && !o.BufferResponses && len(o.ExcludeMetricsPaths) == 0
}

// PassThrough passes a request through that r was acquired for. It returns false and nil if it has done
// nothing. If it returns a Begun, [Release.Forward] goes on with the request; otherwise it has given up what
// the caller acquired.
func (r *Release) PassThrough(in *passthrough.Request) (answered bool, begun *Begun) {
	p := passedPool.Get().(*passed)
	var ok bool
	if p.head, ok = appendPassedHead(p.head[:0], in); !ok {
		p.release()
		return false, nil
	}
	u := r.pick(nil, nil) // neither cookies nor read targets have a say
	u.inFlight.Add(1)
	sent, whole := u.transport.(*transport.Transport).PassThrough(&p.exchange, p.head, in.Method == http.MethodHead, in.Began)
	switch {
	case !sent:
		// A request by turns is for the target whose turn it was, so no other one is chosen for it.
		p.release()
		return false, &Begun{u, nil, in.Began}
	case !whole:
		return false, &Begun{u, p, in.Began}
	}
	u.answered()
	took := time.Since(in.Began)
	status := p.exchange.Head.Status
	r.Traffic.Count(in.Method, status, took)
	r.Traffic.sent.Add(int64(p.exchange.Size))
	if failed, judged := verdict(status, nil); judged {
		r.tally(Outcome{Failed: failed, Took: took})
	}
	p.answer(in)
	if in.Log != nil {
		r.logPassed(in, p, u, took)
	}
	p.exchange.End()
	p.release()
	u.inFlight.Add(-1)
	r.Done()
	return true, nil
}

// logPassed tells of a request that was passed through.
func (r *Release) logPassed(in *passthrough.Request, p *passed, u *upstream, took time.Duration) {
	record := r.Record()
	in.Log.LogPassedThrough(in, &passthrough.Answered{
		Status: p.exchange.Head.Status, Fields: p.fields, Size: p.exchange.Size, Took: took,
		Service: record.Service, Release: record.Release, Target: u.target.String(), RequestID: p.requestID(),
	})
}

// answer passes the answer on.
func (p *passed) answer(in *passthrough.Request) {
	answer := &p.exchange
	status := answer.Head.Status
	b := in.Answer.Begin(status)
	p.fields = p.fields[:0]
	pass := func(f http1.Field) {
		b = appendPassedField(b, f)
		if in.Log != nil {
			p.fields = append(p.fields, f)
		}
	}
	for _, f := range in.AnswerFields {
		pass(f)
	}
	hasDate, hasServer := false, false
	for _, f := range answer.Head.Fields {
		switch passedAnswerFields.of(f.Name) {
		case droppedField:
			continue
		case keepAliveField:
			answer.Heed(string(f.Value))
			continue
		case dateField:
			hasDate = true
		case serverField:
			hasServer = true
		case lengthField: // RFC 9110, section 8.6, and as net/http has it
			if status == http.StatusNoContent || status == http.StatusNotModified {
				continue
			}
		case typeField:
			if status == http.StatusNotModified { // as net/http has it
				continue
			}
		}
		pass(f)
	}
	if !hasServer {
		for _, f := range in.ServerFields {
			pass(f)
		}
	}
	in.Answer.End(b, answer.Body, hasDate)
}

// appendPassedHead appends the head that a target gets for a request. It returns false if the request has a
// field that needs more than to be copied or left out.
func appendPassedHead(b []byte, in *passthrough.Request) ([]byte, bool) {
	b = append(append(b, in.Method...), ' ')
	b = append(append(b, in.Target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, in.Host...), "\r\n"...)
	for _, f := range in.Head.Fields {
		switch passedRequestFields.of(f.Name) {
		case ordinaryField:
			if hasSecondName(f.Name) {
				return b, false
			}
			b = appendPassedField(b, f)
		case connectionField:
			if !isPersistence(f.Value) {
				return b, false
			}
		case droppedField:
		default:
			return b, false
		}
	}
	b = append(append(b, "X-Forwarded-For: "...), in.Client...)
	b = append(append(b, "\r\nX-Forwarded-Host: "...), in.Host...)
	b = append(b, "\r\nX-Forwarded-Proto: http"...)
	if in.TLS != nil {
		b = append(b, 's')
	}
	b = appendStart(append(b, "\r\nX-Request-Start: "...), in.Began)
	b = appendID(append(b, "\r\nX-Request-Id: "...))
	return append(b, "\r\n\r\n"...), true
}

func appendPassedField(b []byte, f http1.Field) []byte {
	b = append(append(b, f.Name...), ": "...)
	return append(append(b, f.Value...), "\r\n"...)
}
