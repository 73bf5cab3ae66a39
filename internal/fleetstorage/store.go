// Package fleetstorage is where the proxies of a fleet meet in the storage that they share: a
// [fleet.Store] on Caddy's storage.
//
// Such a storage has no compare-and-set. Its lock is a lease that a paused process can outlive, so two
// decisions may be made from the same state. The later one stands for all proxies then, and a
// coordinator reports success only if every proxy has acknowledged its own plan.
package fleetstorage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

// root is the folder of the fleet's keys.
const root = "parachute/fleet"

// fullLook is how many looks go by between two that read everything, whatever the counter says.
const fullLook = 20

// Store keeps what a fleet decides in a storage. Its zero value is not usable; call [New].
type Store struct {
	storage certmagic.Storage
	// used says that there has been something in the storage.
	used atomic.Bool

	// mu guards what follows, and makes one look at a time.
	mu sync.Mutex
	// seen is the state at the counter at, looks how often it was used.
	seen  fleet.State
	at    uint64
	looks int
}

var _ fleet.Store = (*Store)(nil)

// New returns the store on a storage that all proxies of the fleet share.
func New(storage certmagic.Storage) *Store { return &Store{storage: storage} }

func key(folder, name string) string { return path.Join(root, folder, url.PathEscape(name)+".json") }

func ackKey(plan, proxy string) string { return key(path.Join("acks", url.PathEscape(plan)), proxy) }

const counterKey = root + "/revision"

func (b *Store) store(ctx context.Context, key string, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.storage.Store(ctx, key, content)
}

// load reads a value, and reports whether there is one.
func (b *Store) load(ctx context.Context, key string, v any) (bool, error) {
	content, err := b.storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(content, v); err != nil {
		return false, fmt.Errorf("reading %s: %w", key, err)
	}
	return true, nil
}

// remove deletes a key that need not be there.
func (b *Store) remove(ctx context.Context, key string) error {
	if err := b.storage.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// all reads the values in a folder.
func all[T any](ctx context.Context, b *Store, folder string) (values []T, err error) {
	keys, err := b.storage.List(ctx, path.Join(root, folder), false)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, nil
	}
	for _, k := range keys {
		if path.Ext(k) != ".json" {
			continue
		}
		var v T
		if ok, err := b.load(ctx, k, &v); err != nil {
			return nil, err
		} else if ok {
			values = append(values, v)
		}
	}
	return values, nil
}

// Beat implements [fleet.Store].
func (b *Store) Beat(ctx context.Context, l fleet.Lease) (before fleet.Lease, err error) {
	if _, err = b.load(ctx, key("leases", l.Name), &before); err != nil {
		return before, err
	}
	return before, b.store(ctx, key("leases", l.Name), l)
}

// Leave implements [fleet.Store].
func (b *Store) Leave(ctx context.Context, name string) error {
	return b.remove(ctx, key("leases", name))
}

// Leases implements [fleet.Store].
func (b *Store) Leases(ctx context.Context) ([]fleet.Lease, error) {
	return all[fleet.Lease](ctx, b, "leases")
}

// locked calls do while no other proxy changes plans or decisions, with what there is, unless the
// lock was outlived.
func (b *Store) locked(ctx context.Context, do func(s fleet.State, next uint64) error) error {
	const lock = "parachute_fleet"
	if err := b.storage.Lock(ctx, lock); err != nil {
		return fmt.Errorf("locking the storage: %w", err)
	}
	defer func() { _ = b.storage.Unlock(context.WithoutCancel(ctx), lock) }()
	at, err := b.counter(ctx)
	if err != nil {
		return err
	}
	s, err := b.read(ctx)
	if err != nil {
		return err
	}
	for _, p := range s.Plans {
		at = max(at, p.Revision)
	}
	for _, d := range s.Decisions {
		at = max(at, d.Revision)
	}
	return do(s, at+1)
}

func (b *Store) counter(ctx context.Context) (uint64, error) {
	content, err := b.storage.Load(ctx, counterKey)
	if errors.Is(err, fs.ErrNotExist) {
		if b.used.Load() {
			return 0, fleet.ErrLost
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	b.used.Store(true)
	return strconv.ParseUint(string(content), 10, 64)
}

// count has the others look.
func (b *Store) count(ctx context.Context, revision uint64) error {
	return b.storage.Store(ctx, counterKey, strconv.AppendUint(nil, revision, 10))
}

func (b *Store) read(ctx context.Context) (s fleet.State, err error) {
	// Plans first: one that is decided meanwhile is in both then, and not in neither.
	if s.Plans, err = all[fleet.Plan](ctx, b, "plans"); err != nil {
		return s, err
	}
	s.Decisions, err = all[fleet.Decision](ctx, b, "services")
	return s, err
}

// Propose implements [fleet.Store].
func (b *Store) Propose(ctx context.Context, p fleet.Plan) (uint64, error) {
	err := b.locked(ctx, func(s fleet.State, next uint64) error {
		older, ok := s.Plan(p.Service)
		if ok && older.ID == p.ID {
			p.Revision = older.Revision // the answer was lost
			return nil
		}
		d, _ := s.Decision(p.Service)
		if d.Revision != p.Base {
			return fleet.ErrSuperseded
		}
		p.Revision = next
		if err := b.store(ctx, key("plans", p.Service), p); err != nil {
			return err
		}
		if ok && d.Plan != older.ID {
			b.removeAcks(ctx, older.ID)
		}
		return b.count(ctx, next)
	})
	return p.Revision, err
}

// removeAcks deletes the acknowledgements of a plan. What stays does no harm.
func (b *Store) removeAcks(ctx context.Context, plan string) {
	folder := path.Join(root, "acks", url.PathEscape(plan))
	keys, err := b.storage.List(ctx, folder, false)
	if err != nil {
		return
	}
	for _, k := range keys {
		_ = b.storage.Delete(ctx, k)
	}
	_ = b.storage.Delete(ctx, folder)
}

// Withdraw implements [fleet.Store].
func (b *Store) Withdraw(ctx context.Context, p fleet.Plan) error {
	return b.locked(ctx, func(s fleet.State, next uint64) error { return b.drop(ctx, s, p, next) })
}

// Abandon implements [fleet.Store].
func (b *Store) Abandon(ctx context.Context, p fleet.Plan) error {
	return b.locked(ctx, func(s fleet.State, next uint64) error {
		newest, isThere := s.Plan(p.Service)
		if d, _ := s.Decision(p.Service); !isThere || newest.ID != p.ID || d.Plan == p.ID {
			return nil
		}
		return b.drop(ctx, s, p, next)
	})
}

// drop removes a plan, if it is the newest of its service, and its acknowledgements.
func (b *Store) drop(ctx context.Context, s fleet.State, p fleet.Plan, next uint64) error {
	if newest, ok := s.Plan(p.Service); ok && newest.ID == p.ID {
		if err := b.remove(ctx, key("plans", p.Service)); err != nil {
			return err
		}
	}
	b.removeAcks(ctx, p.ID)
	return b.count(ctx, next)
}

// Ack implements [fleet.Store].
func (b *Store) Ack(ctx context.Context, a fleet.Ack) error {
	return b.store(ctx, ackKey(a.Plan, a.Step.Proxy), a)
}

// Acks implements [fleet.Store].
func (b *Store) Acks(ctx context.Context, plan string) ([]fleet.Ack, error) {
	return all[fleet.Ack](ctx, b, path.Join("acks", url.PathEscape(plan)))
}

// Decide implements [fleet.Store].
func (b *Store) Decide(ctx context.Context, p fleet.Plan) (revision uint64, err error) {
	err = b.locked(ctx, func(s fleet.State, next uint64) error {
		if d, ok := s.Decision(p.Service); ok && d.Plan == p.ID {
			revision = d.Revision
			return nil
		}
		if err := s.Check(p); err != nil {
			return err
		}
		revision = next
		d := fleet.Decision{Service: p.Service, Revision: next, Plan: p.ID, Document: p.Document, Routes: p.Routes}
		if err := b.store(ctx, key("services", p.Service), d); err != nil {
			return err
		}
		_ = b.count(ctx, next) // it is decided; a look at everything finds it also without
		return nil
	})
	if err == nil {
		b.mu.Lock()
		b.looks = 0 // this proxy may go by it from now on, so its next look has to have it
		b.mu.Unlock()
	}
	return revision, err
}

// Look implements [fleet.Store]. It reads everything if the counter has moved, and now and then.
func (b *Store) Look(ctx context.Context) (fleet.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, err := b.counter(ctx)
	if err != nil {
		return fleet.State{}, err
	}
	if b.looks > 0 && b.at == at && b.looks < fullLook {
		b.looks++
		return b.seen, nil
	}
	s, err := b.read(ctx)
	if err != nil {
		return s, err
	}
	s.Revision = at
	if newest := newestDecision(s); newest > at {
		// Of what was decided before that one, something may have been read too early. Now all of it is there.
		if s, err = b.read(ctx); err != nil {
			return s, err
		}
		s.Revision = newest
	}
	b.seen, b.at, b.looks = s, at, 1
	return s, nil
}

func newestDecision(s fleet.State) (revision uint64) {
	for _, d := range s.Decisions {
		revision = max(revision, d.Revision)
	}
	return revision
}

// Advance implements [fleet.Store].
func (b *Store) Advance(ctx context.Context, revision uint64) error {
	b.used.Store(false) // whoever calls it knows that it may be empty
	return b.locked(ctx, func(_ fleet.State, next uint64) error { return b.count(ctx, max(next, revision)) })
}

// Changed implements [fleet.Store]. A storage tells nobody.
func (b *Store) Changed() <-chan struct{} { return nil }

// Acked implements [fleet.Store].
func (b *Store) Acked() <-chan struct{} { return nil }
