package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

// patience is how long a replica may be behind its bucket before it is filled by another consumer. The
// one that it has may hang with a server that is gone.
const patience = time.Second

var (
	// errLost means that a bucket that was used is not there any more.
	errLost = fmt.Errorf("%w: its bucket in NATS was removed, or made anew", fleet.ErrLost)
	// errBehind means that the newest in a bucket has not come in time.
	errBehind = errors.New("the newest state has not come from NATS in time")
)

// value is what a bucket has under a key.
type value struct {
	data []byte
	// revision is the number of the message that it was written with.
	revision uint64
}

// trust is how long after an answer the next one of the leader of a bucket is believed. A leader that has been cut off from
// the other servers goes on to answer reads with what it has, and learns of the next leader only some time after it reaches
// the others again. NATS elects that one no sooner than four seconds after it has heard of the one before
// (minElectionTimeoutDefault in its raft.go).
const trust = 4 * time.Second

// replica is a copy of a bucket in this process. NATS fills it by a consumer, which can be late. So
// whoever reads it asks the leader of the bucket first how far it should be. After a failure, or a long time, it
// writes something to learn that: a write is acknowledged only by a leader that most servers follow.
type replica struct {
	bucket
	nc *nats.Conn
	// heard is called for each key that comes. It must not block.
	heard func(key string)

	// restarting holds one token, for whoever starts a consumer.
	restarting chan struct{}

	// mu guards what follows.
	mu     sync.Mutex
	values map[string]value
	// seen is the number of the newest message that has come.
	seen uint64
	// created is when the stream was made of which the values are; zero before the first.
	created time.Time
	// synced is when the leader was asked last; zero if something has failed since.
	synced time.Time
	// news is closed when something has come.
	news chan struct{}
	// feed is what fills it; nil before the first consumer. broken says that it has missed something.
	feed   *nats.Subscription
	next   uint64
	broken bool
}

func newReplica(b bucket, nc *nats.Conn, heard func(key string)) *replica {
	return &replica{
		bucket: b, nc: nc, heard: heard, restarting: make(chan struct{}, 1),
		values: make(map[string]value), news: make(chan struct{}),
	}
}

// sync returns once the replica has all that was in the bucket when it was called. It asks again, until
// shortly before ctx ends, as long as the bucket has no leader.
func (r *replica) sync(ctx context.Context) error {
	for {
		began := time.Now()
		err := r.trySync(ctx)
		if err == nil {
			r.mu.Lock()
			r.synced = began
			r.mu.Unlock()
		} else {
			r.doubt()
		}
		if end, ok := ctx.Deadline(); err == nil || errors.Is(err, errLost) || ok && time.Until(end) < requestTimeout {
			return explain(err)
		}
		select {
		case <-time.After(patience / 10):
		case <-ctx.Done():
			return explain(err)
		}
	}
}

// doubt has the leader not be believed the next time.
func (r *replica) doubt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = time.Time{}
}

func (r *replica) trySync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	asked, stop := context.WithTimeout(ctx, requestTimeout)
	stream, err := r.js.Stream(asked, r.stream())
	stop()
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		r.mu.Lock()
		isLost := r.keeps && !r.created.IsZero()
		r.mu.Unlock()
		if isLost {
			return errLost
		}
		if err := r.make(ctx); err != nil {
			return err
		}
		return r.trySync(ctx)
	}
	if err != nil {
		return err
	}
	info := stream.CachedInfo() // which is new: the leader has just sent it
	r.mu.Lock()
	isAnother := !r.created.IsZero() && !r.created.Equal(info.Created)
	feed := r.feed
	isFed := feed != nil && !r.broken && !isAnother
	// Whoever has less than has come here has been cut off since then, and does not know it.
	isTrusted := time.Since(r.synced) < trust && info.State.LastSeq >= r.seen
	r.mu.Unlock()
	if isAnother && r.keeps {
		return errLost
	}
	newest := info.State.LastSeq
	if isFed && !isTrusted {
		if newest, err = r.put(ctx, keyMark, nil); err != nil {
			return err
		}
	}
	if isFed && r.await(ctx, newest) {
		return nil
	}
	if err := r.restart(ctx, feed, info.Created); err != nil {
		return err
	}
	// The newest message may have been removed since, and would be waited for in vain.
	ack, err := r.put(ctx, keyMark, nil)
	if err != nil {
		return err
	}
	if !r.await(ctx, ack) {
		return errBehind
	}
	return nil
}

// accept has another bucket be taken for the one that was used, which is lost.
func (r *replica) accept() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.created, r.broken = time.Time{}, true
}

// put is that of the bucket, which is made anew if it was in the memory of servers that have been restarted.
func (r *replica) put(ctx context.Context, key string, data []byte, opts ...jetstream.PublishOpt) (uint64, error) {
	number, err := r.bucket.put(ctx, key, data, opts...)
	if !r.keeps && errors.Is(err, jetstream.ErrNoStreamResponse) {
		if err := r.make(ctx); err != nil {
			return 0, err
		}
		number, err = r.bucket.put(ctx, key, data, opts...)
	}
	return number, err
}

// coming returns what is closed when the next message comes.
func (r *replica) coming() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.news
}

// await waits until a message has come, and reports whether it has.
func (r *replica) await(ctx context.Context, number uint64) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		r.mu.Lock()
		seen, broken, news := r.seen, r.broken, r.news
		r.mu.Unlock()
		if seen >= number || broken {
			return !broken
		}
		select {
		case <-news:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// restart has another consumer than that of a feed fill the replica, from the stream that was made at a time.
func (r *replica) restart(ctx context.Context, of *nats.Subscription, created time.Time) error {
	select {
	case r.restarting <- struct{}{}:
		defer func() { <-r.restarting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	isDone := r.feed != of // by somebody else meanwhile
	r.mu.Unlock()
	if isDone {
		return nil
	}
	r.stop()
	r.mu.Lock()
	if !r.created.Equal(created) {
		r.values, r.seen, r.created = make(map[string]value), 0, created
	}
	r.next, r.broken = 1, false
	r.mu.Unlock()
	inbox := r.nc.NewInbox()
	feed, err := r.nc.Subscribe(inbox, func(m *nats.Msg) { r.take(inbox, m) })
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.feed = feed
	r.mu.Unlock()
	_, err = r.js.CreatePushConsumer(ctx, r.stream(), jetstream.ConsumerConfig{
		DeliverSubject: inbox, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: r.subject(">"),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		r.stop()
	}
	return err
}

// stop ends the consumer that there is.
func (r *replica) stop() {
	r.mu.Lock()
	feed := r.feed
	r.feed = nil
	r.mu.Unlock()
	if feed != nil {
		_ = feed.Unsubscribe() // the server then removes the consumer
	}
}

// take takes a message of a consumer.
func (r *replica) take(inbox string, m *nats.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return
	}
	key, _ := strings.CutPrefix(m.Subject, r.subject(""))
	r.mu.Lock()
	switch {
	case r.feed == nil || r.feed.Subject != inbox: // of a consumer before this one
		r.mu.Unlock()
		return
	case meta.Sequence.Consumer != r.next:
		r.broken = true
	default:
		r.next++
		r.seen = max(r.seen, meta.Sequence.Stream)
		if meta.Sequence.Stream > r.values[key].revision {
			if isDeletion(m.Header) {
				delete(r.values, key)
			} else {
				r.values[key] = value{m.Data, meta.Sequence.Stream}
			}
		}
	}
	close(r.news)
	r.news = make(chan struct{})
	r.mu.Unlock()
	r.heard(key)
}

// all returns what there is below a prefix, by the rest of the key.
func (r *replica) all(prefix string) map[string]value {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := make(map[string]value)
	for key, v := range r.values {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			found[rest] = v
		}
	}
	return found
}

// newest returns what there is under a key, and when the stream was made that it is of.
func (r *replica) newest(key string) (v value, ok bool, made time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok = r.values[key]
	return v, ok, r.created
}

// get returns what there is under a key.
func (r *replica) get(key string) (value, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.values[key]
	return v, ok
}

// forget removes the values for which gone returns true. The bucket does not tell of those that have
// been purged from it.
func (r *replica) forget(gone func(key string, v value) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.values, gone)
}
