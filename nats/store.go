package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// Keys of the bucket of decisions, which is on disk:
//
//	index          the newest plan and the decision of every service, by reference: the one
//	               cell that is decided on by compare-and-set
//	plan.PLAN      what a plan says, which never changes
//	member.PROXY   a proxy that has not said goodbye
//
// And of the bucket of the moment, which is in memory:
//
//	beat.PROXY     a lease
//
// mark is in both; see [replica.sync].
const (
	keyIndex    = "index"
	keyMark     = "mark"
	prefixPlan  = "plan."
	prefixProxy = "member."
	prefixBeat  = "beat."
)

// proposal is a plan as the bucket has it.
type proposal struct {
	fleet.Plan
	// Inbox is the subject at which the proxy that has proposed it takes acknowledgements. They are in no bucket: if
	// each went to all proxies, a change among a hundred would take ten thousand messages.
	Inbox string `json:"inbox"`
}

// index is the cell that is decided on.
//
// A service that was removed stays in it, as a decision without a document: some 60 bytes. A proxy that was off, or cut
// off, learns by it that the service is removed. It is not known when the last one has: a proxy that has said
// goodbye is no member any more, and may start again at any time with what is on its disk. Without the decision, it would
// take the store for one that has lost its data, and [fleet.Agent.Restore] would bring the service back. Nor can
// a proxy tell by numbers that what it has was removed long ago, because what is on its disk has no revision.
type index struct {
	// Revision counts the changes of the index.
	Revision uint64          `json:"revision"`
	Services map[string]cell `json:"services"`
}

// cell is what the index has of one service.
type cell struct {
	Plan     *reference `json:"plan,omitempty"`
	Decision *reference `json:"decision,omitempty"`
}

// all returns the references that there are.
func (c cell) all() (refs []*reference) {
	for _, ref := range []*reference{c.Plan, c.Decision} {
		if ref != nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

// reference names a plan, and the revision that it was proposed or decided with.
type reference struct {
	ID       string `json:"id"`
	Revision uint64 `json:"revision"`
}

// state is the index with all that it refers to.
type state struct {
	fleet.State
	index index
	// made is when the stream of the bucket was made: there is another one when a bucket that was lost is restored.
	made time.Time
	// revision is the number of the message with the index; 0 if there is none.
	revision uint64
	// plans are the numbers of the messages with the plans that the index refers to, and inboxes where these are
	// acknowledged, by their ids.
	plans   map[string]uint64
	inboxes map[string]string
}

// isAfter reports whether a state is newer than another one.
func (s state) isAfter(other state) bool {
	return s.made.After(other.made) || s.made.Equal(other.made) && s.revision > other.revision
}

// store is a [fleet.Store] on NATS.
type store struct {
	link           *link
	changed, acked chan struct{}

	// connecting holds one token, for whoever connects, and guards made: a connection whose buckets
	// may not have been reached yet.
	connecting chan struct{}
	made       *connection
	current    atomic.Pointer[connection]

	// mu guards what follows.
	mu sync.Mutex
	// last is the state that was read last.
	last state
	// beat is the lease of this proxy as it was written last, with the number of its message.
	beat       fleet.Lease
	beatNumber uint64
	// leases are those that were read last, by the key.
	leases map[string]readLease
	// awaited are the plans that this proxy has proposed and not withdrawn, and acks what others have said of them, by
	// plan and proxy.
	awaited map[string]bool
	acks    map[string]map[string]fleet.Ack
	// applied is where the plans are acknowledged that this proxy goes by, and has not said that it has drained for: the
	// index may not refer to them any more.
	applied map[string]string
	// inbox is where they say so; nil before the first plan.
	inbox *nats.Subscription
}

// readLease is a lease, and the number of the message that it was read from.
type readLease struct {
	fleet.Lease
	revision uint64
}

var _ fleet.Store = (*store)(nil)

func newStore(l *link) *store {
	return &store{
		link: l, changed: make(chan struct{}, 1), acked: make(chan struct{}, 1), connecting: make(chan struct{}, 1),
		leases: make(map[string]readLease), awaited: make(map[string]bool), acks: make(map[string]map[string]fleet.Ack),
		applied: make(map[string]string),
	}
}

// connection is what a store has once it has reached NATS. The link connects again by itself.
type connection struct {
	nc *nats.Conn
	// decisions are on disk, the moment is in memory; see [store].
	decisions, moment *replica
}

// connect returns the connection, and makes it if there is none.
func (b *store) connect(ctx context.Context) (*connection, error) {
	if c := b.current.Load(); c != nil {
		return c, nil
	}
	select {
	case b.connecting <- struct{}{}:
		defer func() { <-b.connecting }()
	case <-ctx.Done():
		return nil, b.link.why(context.Cause(ctx)) // another caller waits for the connection
	}
	if c := b.current.Load(); c != nil {
		return c, nil
	}
	nc, err := b.link.dial(ctx)
	if err != nil {
		return nil, err
	}
	if b.made == nil {
		js, err := jetstream.New(nc)
		if err != nil {
			return nil, err
		}
		name, replicas := b.link.address.bucket, b.link.replicas(nc)
		b.made = &connection{
			nc:        nc,
			decisions: newReplica(bucket{js: js, name: name, keeps: true, history: 5, replicas: replicas}, nc, b.hear),
			moment:    newReplica(bucket{js: js, name: name + "-moment", history: 1, replicas: replicas}, nc, b.hear),
		}
	}
	for _, r := range []*replica{b.made.decisions, b.made.moment} {
		if err := r.sync(ctx); err != nil {
			return nil, err
		}
	}
	b.current.Store(b.made)
	return b.made, nil
}

// close ends what b hears. Others may go on with its link.
func (b *store) close() {
	b.connecting <- struct{}{}
	made := b.made
	<-b.connecting
	if made != nil {
		made.decisions.stop()
		made.moment.stop()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inbox != nil {
		_ = b.inbox.Unsubscribe()
		b.inbox = nil
	}
}

// hear has the agent look if a key that has come is of interest to it.
func (b *store) hear(key string) {
	if key == keyIndex {
		notify(b.changed)
	}
}

// notify has whoever waits for a channel look.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed implements [fleet.Store].
func (b *store) Changed() <-chan struct{} { return b.changed }

func marshal(v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err) // none of the types has anything that JSON does not
	}
	return content
}

// Beat implements [fleet.Store].
func (b *store) Beat(ctx context.Context, l fleet.Lease) (before fleet.Lease, err error) {
	c, err := b.connect(ctx)
	if err != nil {
		return before, err
	}
	defer func() {
		if err != nil {
			c.decisions.doubt() // whoever cannot write here may be cut off there, too
		}
	}()
	if _, known := c.decisions.get(prefixProxy + token(l.Name)); !known {
		// Before the beat, so that there is no proxy that a NATS that loses its memory forgets.
		if _, err := c.decisions.put(ctx, prefixProxy+token(l.Name), marshal(l)); err != nil {
			return before, err
		}
	}
	b.mu.Lock()
	before, number := b.beat, b.beatNumber
	b.mu.Unlock()
	key := prefixBeat + token(l.Name)
	written, err := c.moment.put(ctx, key, marshal(l), jetstream.WithExpectLastSequencePerSubject(number))
	if isConflict(err) {
		// Another process has written it, or one before this one, or the answer was lost.
		before = fleet.Lease{}
		var content []byte
		if content, err = c.moment.read(ctx, key); err == nil && content != nil {
			err = json.Unmarshal(content, &before)
		}
		if err == nil {
			written, err = c.moment.put(ctx, key, marshal(l))
		}
	}
	if err != nil {
		return before, err
	}
	b.mu.Lock()
	b.beat, b.beatNumber = l, written
	b.mu.Unlock()
	return before, nil
}

// Leave implements [fleet.Store].
func (b *store) Leave(ctx context.Context, name string) error {
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.moment.remove(ctx, prefixBeat+token(name)); err != nil {
		return err
	}
	return c.decisions.remove(ctx, prefixProxy+token(name))
}

// Leases implements [fleet.Store]. A proxy of which there is no beat, as after a restart of all servers, has
// one that does not move.
func (b *store) Leases(ctx context.Context) (all []fleet.Lease, err error) {
	c, err := b.connect(ctx)
	if err == nil {
		err = c.decisions.sync(ctx)
	}
	if err == nil {
		err = c.moment.sync(ctx)
	}
	if err != nil {
		return nil, err
	}
	leases := c.decisions.all(prefixProxy)
	for name, v := range c.moment.all(prefixBeat) {
		leases[name] = v
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	next := make(map[string]readLease, len(leases))
	for name, v := range leases {
		l := b.leases[name]
		if l.revision != v.revision {
			l = readLease{revision: v.revision}
			if err := json.Unmarshal(v.data, &l.Lease); err != nil {
				return nil, fmt.Errorf("reading a lease: %w", err)
			}
		}
		next[name], all = l, append(all, l.Lease)
	}
	b.leases = next
	return all, nil
}

// read returns the state as of now, or later.
func (b *store) read(ctx context.Context, c *connection) (state, error) {
	err := c.decisions.sync(ctx)
	if errors.Is(err, errLost) && b.isRestored(ctx, c) {
		err = b.takeAnother(ctx, c)
	}
	if err != nil {
		return state{}, err
	}
	for {
		news := c.decisions.coming()
		s, err := b.assemble(c)
		if !errors.Is(err, errBehind) {
			return s, err
		}
		// What an index refers to is removed only after the next index: that one is on its way.
		select {
		case <-news:
		case <-ctx.Done():
			return s, err
		}
	}
}

// isRestored reports whether the bucket, which is another one than before, has a later index than was seen: a proxy
// has restored it.
func (b *store) isRestored(ctx context.Context, c *connection) bool {
	content, err := c.decisions.read(ctx, keyIndex)
	var now index
	if err != nil || content == nil || json.Unmarshal(content, &now) != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Revision > b.last.index.Revision
}

// takeAnother has another bucket be the one of the fleet.
func (b *store) takeAnother(ctx context.Context, c *connection) error {
	c.decisions.accept()
	return c.decisions.sync(ctx)
}

// Advance implements [fleet.Store].
func (b *store) Advance(ctx context.Context, revision uint64) error {
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.decisions.sync(ctx); errors.Is(err, errLost) {
		if err := b.takeAnother(ctx, c); err != nil {
			return err
		}
	}
	return b.change(ctx, c, func(s *state, _ uint64) error {
		if s.index.Revision > revision {
			return errNoChange
		}
		s.index.Revision = revision
		return nil
	})
}

// assemble returns the state that the replica has.
func (b *store) assemble(c *connection) (s state, err error) {
	at, ok, made := c.decisions.newest(keyIndex)
	b.mu.Lock()
	last := b.last
	b.mu.Unlock()
	s = state{made: made, revision: at.revision, plans: make(map[string]uint64), inboxes: make(map[string]string)}
	if !s.isAfter(last) {
		return last, nil
	}
	if !ok {
		return s, nil
	}
	if err := json.Unmarshal(at.data, &s.index); err != nil {
		return s, fmt.Errorf("reading the index: %w", err)
	}
	s.Revision = s.index.Revision
	for service, refs := range s.index.Services {
		for _, ref := range refs.all() {
			v, ok := c.decisions.get(prefixPlan + token(ref.ID))
			if !ok {
				return s, fmt.Errorf("%w: the plan %s of %s", errBehind, ref.ID, service)
			}
			var made proposal
			if err := json.Unmarshal(v.data, &made); err != nil {
				return s, fmt.Errorf("reading the plan %s: %w", ref.ID, err)
			}
			p := made.Plan
			p.Revision, s.plans[ref.ID], s.inboxes[ref.ID] = ref.Revision, v.revision, made.Inbox
			if ref == refs.Plan {
				s.Plans = append(s.Plans, p)
			} else {
				s.Decisions = append(s.Decisions, fleet.Decision{Service: service, Revision: ref.Revision, Plan: p.ID, Document: p.Document, Routes: p.Routes})
			}
		}
	}
	for id, number := range last.plans {
		if s.plans[id] == 0 && s.made.Equal(last.made) {
			c.decisions.forget(func(key string, v value) bool { return key == prefixPlan+token(id) && v.revision == number })
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.isAfter(b.last) {
		b.last = s
	}
	return s, nil
}

// Look implements [fleet.Store].
func (b *store) Look(ctx context.Context) (fleet.State, error) {
	c, err := b.connect(ctx)
	if err != nil {
		return fleet.State{}, err
	}
	s, err := b.read(ctx, c)
	return s.State, err
}

// errNoChange ends a change that has nothing to do.
var errNoChange = errors.New("there is nothing to change")

// change makes one change of the index, again whenever another one has come first. next is the revision that it
// gets. The errors of edit end it.
func (b *store) change(ctx context.Context, c *connection, edit func(s *state, next uint64) error) error {
	for {
		s, err := b.read(ctx, c)
		if err != nil {
			return err
		}
		s.index = s.index.clone()
		s.index.Revision++
		if err := edit(&s, s.index.Revision); err != nil {
			if errors.Is(err, errNoChange) {
				return nil
			}
			return err
		}
		content := marshal(s.index)
		if limit := c.nc.MaxPayload() - headroom; int64(len(content)) > limit {
			return api.Invalid("the list of the %d services that the fleet has, or has had, takes %d bytes, and its NATS takes messages of %d: have NATS take more (max_payload)", len(s.index.Services), len(content), limit)
		}
		_, err = c.decisions.put(ctx, keyIndex, content, jetstream.WithExpectLastSequencePerSubject(s.revision))
		if isConflict(err) && ctx.Err() == nil {
			continue
		}
		if err == nil {
			b.sweep(ctx, c, s)
		}
		return err
	}
}

// sweep removes the plans that an index does not refer to any more. Those that stay do no harm.
func (b *store) sweep(ctx context.Context, c *connection, s state) {
	used := make(map[string]bool)
	for _, refs := range s.index.Services {
		for _, ref := range refs.all() {
			used[ref.ID] = true
		}
	}
	for id, number := range s.plans {
		if !used[id] {
			_ = c.decisions.purge(ctx, prefixPlan+token(id), number)
		}
	}
}

func (i index) clone() index {
	services := make(map[string]cell, len(i.Services))
	maps.Copy(services, i.Services)
	i.Services = services
	return i
}

// Propose implements [fleet.Store].
func (b *store) Propose(ctx context.Context, p fleet.Plan) (revision uint64, err error) {
	c, err := b.connect(ctx)
	if err != nil {
		return 0, err
	}
	inbox, err := b.openInbox(c)
	if err != nil {
		return 0, err
	}
	content := marshal(proposal{p, inbox})
	if limit := c.nc.MaxPayload() - headroom; int64(len(content)) > limit {
		return 0, api.Invalid("the change of %s takes %d bytes, and the fleet's NATS takes messages of %d: give fewer hosts and smaller files with one service, or have NATS take more (max_payload)", p.Service, len(content), limit)
	}
	b.mu.Lock()
	b.awaited[p.ID] = true
	b.mu.Unlock()
	number, err := c.decisions.put(ctx, prefixPlan+token(p.ID), content)
	if err != nil {
		return 0, err
	}
	err = b.change(ctx, c, func(s *state, next uint64) error {
		refs := s.index.Services[p.Service]
		if refs.Plan != nil && refs.Plan.ID == p.ID {
			revision = refs.Plan.Revision // the answer was lost
			return errNoChange
		}
		if d, _ := s.Decision(p.Service); d.Revision != p.Base {
			return fleet.ErrSuperseded
		}
		revision, refs.Plan = next, &reference{p.ID, next}
		s.index.Services[p.Service] = refs
		return nil
	})
	if errors.Is(err, fleet.ErrSuperseded) {
		_ = c.decisions.purge(ctx, prefixPlan+token(p.ID), number)
	}
	return revision, err
}

// headroom is what a message has besides its value.
const headroom = 1 << 10

// Withdraw implements [fleet.Store].
func (b *store) Withdraw(ctx context.Context, p fleet.Plan) error {
	b.mu.Lock()
	delete(b.awaited, p.ID)
	delete(b.acks, p.ID)
	b.mu.Unlock()
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	return b.drop(ctx, c, p, func(cell) bool { return true })
}

// Abandon implements [fleet.Store].
func (b *store) Abandon(ctx context.Context, p fleet.Plan) error {
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	return b.drop(ctx, c, p, func(refs cell) bool { return refs.Decision == nil || refs.Decision.ID != p.ID })
}

// drop removes a plan from the index, if it is the newest of its service and may reports that it may be removed.
func (b *store) drop(ctx context.Context, c *connection, p fleet.Plan, may func(cell) bool) error {
	return b.change(ctx, c, func(s *state, _ uint64) error {
		refs := s.index.Services[p.Service]
		if refs.Plan == nil || refs.Plan.ID != p.ID || !may(refs) {
			return errNoChange
		}
		if refs.Plan = nil; refs.Decision == nil {
			delete(s.index.Services, p.Service)
		} else {
			s.index.Services[p.Service] = refs
		}
		return nil
	})
}

// Decide implements [fleet.Store].
func (b *store) Decide(ctx context.Context, p fleet.Plan) (revision uint64, err error) {
	c, err := b.connect(ctx)
	if err != nil {
		return 0, err
	}
	err = b.change(ctx, c, func(s *state, next uint64) error {
		refs := s.index.Services[p.Service]
		if refs.Decision != nil && refs.Decision.ID == p.ID {
			revision = refs.Decision.Revision // the answer was lost
			return errNoChange
		}
		if err := s.Check(p); err != nil {
			return err
		}
		revision, refs.Decision = next, &reference{p.ID, next}
		s.index.Services[p.Service] = refs
		return nil
	})
	return revision, err
}
