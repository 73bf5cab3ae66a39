package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Follow has e decide nothing any more: it serves what is applied. It returns when nothing of its
// own is stored or decided any more. Deployments that have not begun to commit end with
// [ErrElsewhere], and so do operations that are asked for later. Commits that are under way end
// first. Rollouts stop where they are, and that is stored. Drains go on.
//
// An engine that follows before it starts decides nothing until [Engine.Lead].
func (e *Engine) Follow() {
	e.mu.Lock()
	if e.following {
		e.mu.Unlock()
		return
	}
	e.following = true
	e.feed.follows.Store(true)
	services := make([]*service, 0, len(e.services))
	for _, svc := range e.services {
		services = append(services, svc)
		for _, d := range slices.Clone(svc.deployments) {
			d.abort(ErrElsewhere)
		}
	}
	e.mu.Unlock()
	for _, svc := range services {
		svc.committing <- struct{}{} // whoever has it is the last one
		e.mu.Lock()
		l := svc.lineup()
		e.mu.Unlock()
		if l != nil && l.rollout != nil {
			e.storePosition(svc, l.rollout)
			l.rollout.finish(end{how: handedOver})
		}
		<-svc.committing
	}
}

// Lead has e decide again, or for the first time. Rollouts go on.
func (e *Engine) Lead() {
	e.mu.Lock()
	if !e.following || !e.life.now().takesOperations() {
		e.mu.Unlock()
		return
	}
	e.following = false
	e.feed.follows.Store(false)
	started := e.life.now() != lifeLoaded
	e.mu.Unlock()
	e.reportFollowers()
	if started {
		e.storeSettled()
		e.runRollouts()
	}
}

// Refresh makes all services what is stored now. It is for an engine that follows, whose process
// has loaded them before the one that it takes over from had ceased to store. A service whose
// documents cannot be read stays as it is; the error names it.
func (e *Engine) Refresh(ctx context.Context) error {
	store := e.currentStore()
	names, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("listing the stored services: %w", err)
	}
	var failed []error
	for _, name := range names {
		if err := e.refresh(ctx, store, name); err != nil {
			failed = append(failed, fmt.Errorf("the service %s: %w", name, err))
		}
	}
	isStored := make(map[string]bool, len(names))
	for _, name := range names {
		isStored[name] = true
	}
	e.mu.Lock()
	var gone []string
	for name := range e.services {
		if !isStored[name] {
			gone = append(gone, name)
		}
	}
	e.mu.Unlock()
	for _, name := range gone {
		failed = append(failed, e.Apply(name, nil))
	}
	return errors.Join(failed...)
}

// refresh makes a service what is stored, unless it is.
func (e *Engine) refresh(ctx context.Context, store Store, name string) error {
	document, _, err := e.newestDocument(ctx, store, name)
	if err != nil || e.isStoredAs(name, document) {
		return err
	}
	return e.Apply(name, document)
}

// isStoredAs reports whether a service is what a document says.
func (e *Engine) isStoredAs(name string, document []byte) bool {
	e.mu.Lock()
	svc := e.services[name]
	l, last := svc.lineup(), 0
	if svc != nil {
		last = svc.lastVersion
	}
	e.mu.Unlock()
	if l == nil {
		return false
	}
	now, err := encodeLineup(l, last)
	return err == nil && bytes.Equal(now, document)
}

// tellFollowers has those that follow make a service what was stored.
func (e *Engine) tellFollowers(service string, document []byte) {
	if f := e.opts.Followers; f != nil {
		f.Apply(service, document)
	}
}

// drainFollowers waits until those that follow hold nothing of any release that has left a service: they may have releases that
// had left before this process took over. It returns how these have drained.
func (e *Engine) drainFollowers(service string) []api.Drain {
	if f := e.opts.Followers; f != nil {
		return f.Drain(service, 0, func(int, int) {})
	}
	return nil
}

// drains are those of a release in all processes.
type drains struct {
	e       *Engine
	service string
	release int
	// done receives how the release has drained in those that follow; nil without any.
	done chan []api.Drain
	// progress is told what is left in all of them; nil if nobody is.
	progress func(requests, streams int)

	// mu guards what follows.
	mu sync.Mutex
	// These are what is left in this process, and in those that follow.
	inFlight, streams, inFlightElsewhere, streamsElsewhere int
}

// drainElsewhere begins to wait until those that follow hold nothing of a release that has left.
// progress may be nil.
func (e *Engine) drainElsewhere(service string, r *release, progress func(requests, streams int)) *drains {
	d := &drains{e: e, service: service, release: r.Version, progress: progress}
	e.mu.Lock()
	f := e.opts.Followers
	if e.following {
		f = nil // the process that decides asks all of them
	}
	e.mu.Unlock()
	if f != nil {
		d.done = make(chan []api.Drain, 1)
		go func() { d.done <- f.Drain(service, r.Version, d.elsewhere) }()
	}
	return d
}

// here notes what is left in this process.
func (d *drains) here(requests, streams int) {
	d.mu.Lock()
	d.inFlight, d.streams = requests, streams
	d.mu.Unlock()
	d.tell()
}

// elsewhere notes what is left in those that follow.
func (d *drains) elsewhere(requests, streams int) {
	d.mu.Lock()
	d.inFlightElsewhere, d.streamsElsewhere = requests, streams
	d.mu.Unlock()
	d.tell()
}

func (d *drains) tell() {
	if d.progress == nil {
		return
	}
	d.mu.Lock()
	requests, streams := d.inFlight+d.inFlightElsewhere, d.streams+d.streamsElsewhere
	d.mu.Unlock()
	d.progress(requests, streams)
}

// addTo waits for those that follow, and adds what they have held to the drain of this process.
func (d *drains) addTo(result *api.Drain) {
	if d.done == nil {
		return
	}
	d.mu.Lock()
	d.inFlight, d.streams = 0, 0
	d.mu.Unlock()
	for _, other := range <-d.done {
		result.Add(other)
		d.e.log().Info("a process that this one has taken over from holds nothing of a release any more", zap.String("service", d.service),
			zap.Int("release", d.release), zap.Int("requests", other.Requests), zap.Int("streams", other.Streams))
	}
}
