package proxy

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// passHandlers has a request pass the handlers of release, which it was acquired for.
func (e *Engine) passHandlers(v *visitor, w http.ResponseWriter, r *http.Request, release *release, prefix string) error {
	v.passed = release.handlers
	if v.isChallenge() {
		return e.carry(v, w, bareChallenge(r), release, prefix)
	}
	if !forward.Forwardable(r) {
		release.Done()
		return release.fail(forward.ErrBadRequest, v.in, v.client)
	}
	forward.EndAmbiguous(w, r)
	chain, err := release.awaitHandlers(v, e.stopped)
	if err != nil {
		release.Done()
		forward.DiscardBody(r)
		return release.fail(err, v.in, v.client)
	}
	defer chain.done()
	p := &pass{e: e, v: v, release: release, prefix: prefix, answer: answerWriter{ResponseWriter: w}}
	return p.through(chain.chain, r)
}

// awaitHandlers counts the request on the handlers of r, once they have been made: a start
// listens before it has made them.
func (r *release) awaitHandlers(v *visitor, stopping <-chan struct{}) (*countedChain, error) {
	if c := r.handlers.current.Load(); c != nil && c.problem == nil && c.acquire() {
		return c, nil
	}
	gone, unwatch := v.watch()
	defer unwatch()
	ctx := v.in.Context()
	return r.handlers.acquire(stopping, gone, ctx.Done())
}

// isChallenge reports whether an authority that issues certificates asks for what an app has
// for it (RFC 8555, section 8.3). No handler is to stop that.
func (v *visitor) isChallenge() bool {
	asks := (v.in.Method == http.MethodGet || v.in.Method == http.MethodHead) && v.in.ContentLength == 0
	return asks && !v.client.ByTLS(v.in) && isForAuthority(v.in)
}

// bareChallenge returns a challenge without what an app may take for an order, or for something that
// handlers have found out of the client, such as who it is.
func bareChallenge(r *http.Request) *http.Request {
	bare := r.WithContext(r.Context())
	bare.Header = make(http.Header)
	for _, name := range []string{"Accept", "User-Agent"} {
		if values := r.Header[name]; len(values) > 0 {
			bare.Header[name] = values
		}
	}
	return bare
}

// pass is a request on its way through the handlers of a release.
type pass struct {
	e *Engine
	// v is who sends the request; release was acquired for it, and prefix is that of its route.
	v       *visitor
	release *release
	prefix  string
	answer  answerWriter
	// id is the X-Request-Id of the request; empty if nobody logs it.
	id string
	// waiting is the context of the request.
	waiting *waitingContext

	// mu guards what follows.
	mu sync.Mutex
	// at is how far the request has come.
	at passedTo
}

// passedTo is how far a request has come on its way through handlers.
type passedTo int

const (
	// passedToHandler has not been forwarded. The release is still counted for it.
	passedToHandler passedTo = iota
	// passedToTarget has been forwarded, and who did that has given up the release.
	passedToTarget
	// passedBack is over: what is forwarded from here on is a request by itself.
	passedBack
)

// through has r pass a chain.
func (p *pass) through(chain Chain, r *http.Request) (err error) {
	if p.v.client.Record == nil {
		p.v.client.Record = new(forward.Record)
	} else {
		p.id = forward.EnsureRequestID(r.Header, p.v.client.Began)
	}
	*p.v.client.Record = p.release.Record()
	defer func() { p.end(recover(), &err) }()
	p.waiting = newWaitingContext(r.Context(), p.v.client.Connection)
	defer p.waiting.end()
	forward.DropNamed(r.Header)
	// Handlers change the URL and the header. What the host tells them of the request has the same
	// ones, so it is the engine that needs others: its routes are those of the request as it came.
	came, address := *r, *r.URL
	came.URL, came.Header = &address, r.Header.Clone()
	p.v.in = &came
	r = r.WithContext(p.waiting)
	return chain.ServeHTTP(&p.answer, r, &Visit{Record: p.v.client.Record, Server: p.v.client.Server, Next: p.next, Answered: p.answer.begun})
}

// next forwards the request.
func (p *pass) next(w http.ResponseWriter, r *http.Request) error {
	p.mu.Lock()
	before := p.at
	if before == passedToHandler {
		p.at = passedToTarget
	}
	p.mu.Unlock()
	if before == passedToHandler {
		if p.v.client.Connection != nil {
			p.v.client.Connection = p.waiting.handOver()
		}
		return p.e.carry(p.v, w, r, p.release, p.prefixOf(r))
	}
	// A handler, such as a cache that looks whether an answer is still fresh, asks again, and
	// perhaps when the client has been answered.
	v := &visitor{in: p.v.in, service: p.v.service, passed: p.release.handlers, client: forward.Sender{Trusted: p.v.client.Trusted, Ports: p.v.client.Ports}}
	release, prefix, err := p.e.enter(v, w, r)
	if release == nil {
		return err
	}
	return p.e.carry(v, w, r, release, prefix)
}

// prefixOf returns the prefix that a request has after the handlers: that of its route, unless they
// have given it a path that is not below that.
func (p *pass) prefixOf(r *http.Request) string {
	path := r.URL.Path
	if path == p.v.in.URL.Path || path == p.prefix || strings.HasPrefix(path, p.prefix+"/") {
		return p.prefix
	}
	return "/"
}

// end ends the pass. panicked is what the handlers panicked with, nil if they did not; err is
// what they returned, which end replaces with what the request has come to.
func (p *pass) end(panicked any, err *error) {
	p.mu.Lock()
	at := p.at
	p.at = passedBack
	p.mu.Unlock()
	if at == passedToHandler {
		p.release.Done()
		*err = p.answered(panicked, *err)
		p.v.client.Record.RequestID = p.id
	}
	if panicked != nil {
		panic(panicked)
	}
	if *err != nil && p.answer.begun() {
		if c := p.e.log().Check(zap.DebugLevel, "a handler failed when it had answered"); c != nil {
			c.Write(append(LogFields(*err), zap.String("host", p.v.in.Host), zap.String("uri", p.v.in.RequestURI))...)
		}
		*err = nil
	}
}

// maxReason is how many bytes the log gets of why a handler has refused a request. A client may have
// a part in the text.
const maxReason = 256

// answered counts a request that no target has seen, and returns how it has ended.
func (p *pass) answered(panicked any, err error) error {
	switch {
	case panicked == http.ErrAbortHandler:
		// The handler wants the connection to be closed, as Caddy's abort does: it has refused the request.
		p.release.count(p.v.in, p.answer.statusOr(http.StatusForbidden), p.v.client)
		return err
	case panicked != nil:
		p.release.Refused(p.v.in, &p.v.client, http.StatusInternalServerError)
		p.release.count(p.v.in, http.StatusInternalServerError, p.v.client)
		return err
	case err == nil || p.answer.begun():
		p.release.count(p.v.in, p.answer.statusOr(http.StatusOK), p.v.client)
		return err
	}
	reason := err.Error()
	if errors.Is(err, forward.ErrLargeBody) {
		err = forward.ErrLargeBody // whatever the handler has made of it that read the body
	} else if refusal, ok := errors.AsType[*HandlerError](err); ok {
		p.release.Refused(p.v.in, &p.v.client, refusal.Status)
		reason = refusal.Reason
	}
	err = p.release.fail(err, p.v.in, p.v.client)
	p.v.client.Record.Reason = reason[:min(len(reason), maxReason)]
	return err
}
