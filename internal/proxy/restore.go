package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Load reads the state and puts every service that it finds in service: each was
// serving when the proxy stopped. A service whose documents cannot be read, or
// whose route another one has, becomes a broken one, which costs the others
// nothing. Only a document of a newer format, and storage that cannot be listed,
// are errors. Load does not touch the network; see [Engine.Start].
func (e *Engine) Load(ctx context.Context) error {
	store := e.currentStore()
	names, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("listing the stored services: %w", err)
	}
	var loaded []*release
	for _, name := range names {
		r, err := e.loadRelease(ctx, store, name)
		switch {
		case errors.Is(err, ErrNewerFormat):
			return fmt.Errorf("the state of the service %s was %w; start that version, or move the state away", name, ErrNewerFormat)
		case err != nil:
			e.log().Error("service is broken: its state cannot be loaded; deploy it again, with a reset and all of its settings, to repair it",
				zap.String("service", name), zap.Error(err))
			e.mu.Lock()
			e.service(name).broken = err
			e.mu.Unlock()
		default:
			loaded = append(loaded, r)
		}
	}
	e.install(e.settle(loaded))
	return nil
}

// loadRelease returns the active release of what is stored of a service.
func (e *Engine) loadRelease(ctx context.Context, store Store, name string) (*release, error) {
	_, s, err := e.newestDocument(ctx, store, name)
	if err != nil {
		return nil, err
	}
	l := e.restoreLineup(s, nil)
	l.active.restored, l.active.lastVersion = l, s.LastRelease
	return l.active, nil
}

// newestDocument returns the newest generation of a service's document that can be read.
func (e *Engine) newestDocument(ctx context.Context, store Store, name string) ([]byte, *stored, error) {
	if err := api.ValidateServiceName(name); err != nil {
		return nil, nil, err
	}
	generations, failed := store.Load(ctx, name)
	for _, b := range generations {
		s, err := decodeDocument(name, b)
		if errors.Is(err, ErrNewerFormat) {
			return nil, nil, err
		}
		if err != nil {
			if failed == nil {
				failed = err
			}
			continue
		}
		if failed != nil {
			e.log().Warn("service falls back to the previous generation of its state",
				zap.String("service", name), zap.Int("release", s.Release), zap.NamedError("newest", failed))
		}
		return b, &s, nil
	}
	if failed == nil {
		failed = errors.New("there is no document")
	}
	return nil, nil, failed
}

// restoreLineup returns the line-up that was stored. Releases that are in the line-up before,
// which may be nil, are the same ones.
func (e *Engine) restoreLineup(s *stored, before *lineup) *lineup {
	restore := func(from *storedRelease, spec api.Spec) *release {
		if r := before.stored(from); r != nil {
			return r
		}
		if r := e.takePrepared(spec.Service, from); r != nil {
			return r
		}
		return e.restoreRelease(from, spec)
	}
	l := &lineup{active: restore(&s.storedRelease, s.active), linkKey: s.LinkKey, ended: s.Ended}
	l.active.takenFrom = s.TakenFrom
	if s.Hold != nil {
		l.hold = newHold(*s.Hold, before.holdOf())
	}
	if s.standby != nil {
		l.standby = restore(s.Standby, *s.standby)
	}
	next, previous := l.active, l.standby
	if s.candidate != nil {
		next, previous = restore(&s.Candidate.storedRelease, *s.candidate), l.active
		l.candidate = newCandidate(next, s.Candidate.Weight, s.Candidate.Salt, s.Rollout.Settings.By).of(s.Candidate.Values, s.Candidate.Off)
	}
	if s.Rollout != nil {
		l.rollout = restoredRollout(s.Rollout.Settings, next, previous, s.Rollout.Position)
		l.rollout.shared = e.fleet != nil
	}
	l.sign(l)
	return l
}

// restoreRelease returns a release that was stored.
func (e *Engine) restoreRelease(from *storedRelease, spec api.Spec) *release {
	spec.TargetCA = e.restoreTargetCA(spec, from.TargetCA)
	r := e.newRelease(spec)
	r.Version, r.DeployedAt, r.from = from.Release, from.DeployedAt, from.From
	r.certified.Store(from.Certified)
	e.restoreKeyPair(r, from.KeyPair)
	if r.handlers != nil {
		if err := e.chains.make(r.handlers); err != nil {
			e.logRefusal(spec.Service, r.Version, err)
		}
	}
	return r
}

// install puts releases in service. It builds the table once.
func (e *Engine) install(releases []*release) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var claims []*claim
	for _, r := range releases {
		svc := e.service(r.Spec.Service)
		l := *r.restored
		l.active = r
		err := e.reserveAll(&l)
		if err != nil && len(l.releases()) > 1 && e.reserve(r.Spec) == nil {
			// Another service has routes that only a release has which is not trusted, or not
			// needed to serve.
			for _, of := range l.releases()[1:] {
				of.Close()
			}
			l, err = l.settled(r), nil
		}
		if err != nil {
			svc.broken, svc.known, svc.lastVersion = err, r.Spec, l.lastVersion(r.lastVersion)
			e.log().Error("service is broken: its route belongs to another service",
				zap.String("service", r.Spec.Service), zap.Error(err))
			for _, r := range l.releases() {
				r.Close()
			}
			continue
		}
		svc.lastVersion = l.lastVersion(r.lastVersion)
		for _, of := range l.releases() {
			of.Traffic = svc.traffic
		}
		r.restored = nil
		c := newClaim(&l)
		svc.active = c
		claims = append(claims, c)
	}
	e.table.Store(newTable(claims))
}

// restoreKeyPair gives a release that is loaded its own certificate. Without one, it
// serves plain HTTP, and says so.
func (e *Engine) restoreKeyPair(r *release, stored *pemPair) {
	if r.keyPair == nil {
		return
	}
	log, now := e.log().With(zap.String("service", r.Spec.Service)), time.Now()
	switch problem, err := r.keyPair.restore(stored, now); {
	case err != nil:
		log.Error("service has no certificate: its files cannot be used", zap.Error(err))
	case problem != nil:
		leaf := r.keyPair.current.Load().certificate.Leaf
		log = log.With(zap.Time("not_after", leaf.NotAfter), zap.Error(problem))
		if now.After(leaf.NotAfter) {
			log.Error("certificate files cannot be used, and the certificate of the last deploy has expired; clients will refuse it")
			return
		}
		log.Warn("certificate files cannot be used; the certificate of the last deploy is")
	}
}

// restoreTargetCA returns the authorities of a release that is loaded: those that its deploy
// has read. So a file that is missing, or is another one by now, costs nothing. Where
// nothing was stored, the file is what there is.
func (e *Engine) restoreTargetCA(s api.Spec, stored string) string {
	if stored != "" || s.Options.TargetCA == "" {
		return stored
	}
	content, err := readTargetCA(s.Options.TargetCA, time.Now())
	if err != nil {
		e.log().Error("service trusts no target: the authorities of its targets cannot be read; deploy it again",
			zap.String("service", s.Service), zap.Error(fmt.Errorf("reading target-ca: %w", err)))
	}
	return content
}
