package proxy

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// ServeHTTP forwards a request to the release that serves it, which is that of
// the named service, or of the one that claims the request's host and path if
// service is empty. When it returns one of the request errors of this package,
// nothing has been written to w. An answer that breaks off half-way ends in a panic
// with [http.ErrAbortHandler].
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request, service string, client forward.Sender) error {
	if client.Began.IsZero() {
		client.Began = time.Now()
	}
	v := visitor{in: r, client: client, service: service, arrived: client.Began}
	release, prefix, err := e.enter(&v, w, r)
	if release == nil {
		return err
	}
	return e.carry(&v, w, r, release, prefix)
}

// enter counts the request on the release that serves it. It returns nil if the request was
// answered in another way, or why it is refused. r is the request in the form in which it is
// forwarded.
func (e *Engine) enter(v *visitor, w http.ResponseWriter, r *http.Request) (*release, string, error) {
	release, prefix, err := e.acquire(v)
	if err == nil && e.isLoop(v.in, release.Spec.Service, v.service != "") {
		release.Done()
		err = release.fail(ErrLoop, v.in, v.client)
	}
	switch link, linked := errors.AsType[linkError](err); {
	case errors.Is(err, errHealthCheck):
		writeHealthy(w)
		return nil, "", nil
	case linked:
		v.tell(w)
		link.write(w)
		return nil, "", nil
	case err != nil:
		forward.DiscardBody(r)
		return nil, "", err
	}
	release.Served.Add(1)
	if location := e.redirect(release, prefix, v); location != "" {
		release.Done()
		forward.DiscardBody(r)
		status := writeRedirect(w, v.in, location)
		release.count(v.in, status, v.client)
		return nil, "", nil
	}
	if release.clients != nil {
		if err := release.clients.check(v.in, time.Now()); err != nil {
			release.Done()
			forward.DiscardBody(r)
			return nil, "", release.fail(err, v.in, v.client)
		}
	}
	return release, prefix, nil
}

// carry forwards a request that release was acquired for, and by the releases after it if it
// is held until then. It passes the handlers of one release: those that it came to. They count for
// later releases of the service, but not for another service with handlers of its own.
func (e *Engine) carry(v *visitor, w http.ResponseWriter, r *http.Request, release *release, prefix string) error {
	for {
		if most := release.Spec.Options.MaxBody; most > 0 && !forward.LimitBody(r, int64(most)) {
			release.Done()
			forward.DiscardBody(r)
			return release.fail(forward.ErrLargeBody, v.in, v.client)
		}
		if release.handlers != nil && !v.passed.countsFor(release.handlers) {
			if v.passed != nil {
				release.Done()
				forward.DiscardBody(r)
				return release.fail(&HeldError{Cause: ErrOtherHandlers, Status: http.StatusServiceUnavailable, RetryAfter: movedRetryAfter}, v.in, v.client)
			}
			passing := *v // which only a request with handlers has to pay for
			return e.passHandlers(&passing, w, r, release, prefix)
		}
		if release.Buffers(r) {
			return e.carryBuffered(v, w, r, release)
		}
		v.tell(w)
		v.client.Waited = v.hasWaited
		err := release.Forward(w, r, prefix, v.client)
		v.client.Begun = nil
		switch {
		case errors.Is(err, forward.ErrMoved):
		case errors.Is(err, forward.ErrBrokenOff):
			if c := e.log().Check(zap.DebugLevel, "an answer broke off"); c != nil {
				c.Write(append(LogFields(err), zap.String("host", r.Host), zap.String("uri", r.RequestURI))...)
			}
			if forward.ClientTold(err) {
				return nil
			}
			// Whatever else the server did would make it look complete.
			panic(http.ErrAbortHandler)
		default:
			return err
		}
		if release, prefix, err = e.enter(v, w, r); release == nil {
			return err
		}
	}
}

// movedRetryAfter is when a client may come again whose route has moved to another service.
const movedRetryAfter = time.Second

// acquire counts the request on the release that serves it, once it is not held any more.
func (e *Engine) acquire(v *visitor) (*release, string, error) {
	path := matchPath(v.in.URL)
	for {
		c, prefix, err := e.route(v.in, path, v.service)
		if err != nil {
			return nil, "", err
		}
		l := c.lineup.Load()
		if to := v.followsLink(l); to != "" && e.redirect(l.active, prefix, v) == "" {
			l.active.count(v.in, http.StatusFound, v.client)
			return nil, "", linkError{to}
		}
		if l.hold != nil && !v.served(l) && e.redirect(l.active, prefix, v) == "" {
			err := errHealthCheck
			switch {
			case e.isLoop(v.in, l.active.Spec.Service, v.service != ""):
				err = ErrLoop
			case !v.isHealthCheck(l.active):
				err = v.wait(l.hold, e.stopped)
			}
			if err != nil {
				return nil, "", l.active.fail(err, v.in, v.client)
			}
			continue
		}
		v.spread()
		// If the release is draining, its successor is in the table already, or
		// the service is gone from it. If the line-up has changed, its requests may be
		// held by now.
		if r := l.pick(v); r.Acquire() {
			if c.lineup.Load() == l {
				return r, prefix, nil
			}
			r.Done()
			continue
		}
		if e.life.now() == lifeRetired {
			return nil, "", ErrRetired
		}
	}
}

func (e *Engine) route(r *http.Request, path, service string) (*claim, string, error) {
	t := e.table.Load()
	if service != "" {
		c := t.named[service]
		if c == nil {
			return nil, "", ErrNoRoute
		}
		_, prefix := c.prefixes.lookup(path)
		return c, cmp.Or(prefix, "/"), nil
	}
	c, prefix := t.lookup(r.Host, path)
	if c == nil {
		return nil, "", ErrNoRoute
	}
	// A connection is reused for every host that its certificate covers
	// (RFC 9113, section 9.1.1), so another host alone is no reason to refuse;
	// another service is.
	if r.TLS != nil && r.TLS.ServerName != "" {
		if named, _ := t.lookup(r.TLS.ServerName, path); named != c {
			return nil, "", ErrMisdirected
		}
	}
	return c, prefix, nil
}

// served reports whether the request is served although its service is held: because the
// operator lets its sender through, or because a certificate depends on it.
func (v *visitor) served(l *lineup) bool {
	h := l.hold
	return v.opens(l) || !v.client.ByTLS(v.in) && isForAuthority(v.in) || len(h.Allow) > 0 && h.Allows(clientAddr(v.in, v.client))
}

// pick returns the release that is to serve a request.
func (l *lineup) pick(v *visitor) *release {
	if l.candidate != nil && (v.opens(l) || l.candidate.gets(v)) {
		return l.candidate.release
	}
	return l.active
}

// isLoop reports whether r, which is for the service owner, is a probe of a service that
// gets it back: of owner, or of one that a deployment gives the request's host and path.
// Probes of others may come through owner.
func (e *Engine) isLoop(r *http.Request, owner string, byName bool) bool {
	prober, ours := e.forwarder.ProbedService(r)
	switch {
	case !ours:
		return false
	case prober == owner:
		return true
	case byName: // which no deployment changes
		return false
	}
	e.mu.Lock()
	var wanted []api.Route
	if s := e.services[prober]; s != nil {
		for _, d := range s.deployments {
			wanted = append(wanted, d.spec.Routes...)
		}
	}
	e.mu.Unlock()
	if len(wanted) == 0 {
		return false
	}
	c := &claim{service: prober, routes: wanted}
	found, _ := e.table.Load().with(c).lookup(r.Host, matchPath(r.URL))
	return found == c
}
