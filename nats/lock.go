package nats

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	// lockLease is how long the lock of a holder that has died stays.
	lockLease = 15 * time.Second
	// lockPause is how often a lock that somebody else has is tried again.
	lockPause = 250 * time.Millisecond
	// lockPatience is how long a lock is tried while NATS does not answer.
	lockPatience = 15 * time.Second
)

// errLockLost means that a lock was not renewed in time: somebody else may have it since.
var errLockLost = errors.New("the lock was lost: NATS was not reached for longer than its lease, and another proxy may have it")

// locks are those that this process has in the bucket of certificates. A lock is a message that NATS removes when
// its lease is over, unless the holder writes it again. Each write names the one before by its number, so
// whoever has lost a lock can neither renew nor remove that of the next holder.
type locks struct {
	files *fileBucket
	// owner is who this is, for people who look into the bucket.
	owner  string
	lease  time.Duration
	logger *zap.Logger

	// mu guards held: the locks by name, the oldest first. There are two of a name if the first was lost, and whoever
	// has it does not know yet.
	mu   sync.Mutex
	held map[string][]*lock
}

// lock is one that this process has got.
type lock struct {
	of        *locks
	name, key string
	// content is what the message has. No other lock has the same.
	content []byte

	// release ends that it is renewed, and released is closed when that has ended.
	release  context.CancelFunc
	released chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// number is that of the message, and until when the lease is over by the clock of this process.
	number uint64
	until  time.Time
	lost   bool
}

func newLocks(files *fileBucket, owner string, lease time.Duration, logger *zap.Logger) *locks {
	return &locks{files: files, owner: owner, lease: lease, logger: logger, held: make(map[string][]*lock)}
}

// acquire gets a lock. If somebody has it, it waits until ctx ends, or returns false if it is not to wait.
func (l *locks) acquire(ctx context.Context, name string, wait bool) (bool, error) {
	key := prefixLock + token(name)
	if len(key) > maxKey {
		return false, &limitError{fmt.Sprintf("the name of the lock %.40q... is too long for NATS", name)}
	}
	content, err := json.Marshal(map[string]string{"owner": l.owner, "id": rand.Text()})
	if err != nil {
		return false, err
	}
	k := &lock{of: l, name: name, key: key, content: content, released: make(chan struct{})}
	for answered := time.Now(); ; {
		isHeld, err := k.write(ctx)
		switch {
		case err == nil && isHeld:
			l.add(k)
			return true, nil
		case ctx.Err() != nil:
			return false, context.Cause(ctx) // if it was written after all, its lease ends
		case err == nil && !wait:
			return false, nil
		case err == nil:
			answered = time.Now()
		case !isUnreachable(err) || time.Since(answered) > lockPatience:
			return false, err
		}
		if err := sleep(ctx, lockPause); err != nil {
			return false, err
		}
	}
}

// write writes the lock over the message that it has, or as a new one. It returns false if somebody else has it.
func (k *lock) write(ctx context.Context) (isHeld bool, err error) {
	err = k.of.files.do(ctx, func(b *bucket) error {
		err := k.put(ctx, b)
		if !isConflict(err) {
			isHeld = err == nil
			return err
		}
		m, err := b.last(ctx, k.key)
		if err != nil || m == nil || string(m.Data) != string(k.content) {
			return err
		}
		// The answer to a write before this one was lost.
		k.mu.Lock()
		k.number = m.Sequence
		k.mu.Unlock()
		if err = k.put(ctx, b); isConflict(err) {
			return nil
		}
		isHeld = err == nil
		return err
	})
	return isHeld, err
}

// put writes the message. The lease is counted from before that, so it ends here before it does in NATS.
func (k *lock) put(ctx context.Context, b *bucket) error {
	k.mu.Lock()
	before, began := k.number, time.Now()
	k.mu.Unlock()
	number, err := b.put(ctx, k.key, k.content, jetstream.WithExpectLastSequencePerSubject(before), jetstream.WithMsgTTL(k.of.lease))
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.number, k.until = number, began.Add(k.of.lease)
	return nil
}

// add has a lock be renewed until it is released.
func (l *locks) add(k *lock) {
	ctx, cancel := context.WithCancel(context.Background())
	k.release = cancel
	l.mu.Lock()
	l.held[k.name] = append(l.held[k.name], k)
	l.mu.Unlock()
	go func() {
		defer close(k.released)
		k.keep(ctx)
	}()
}

// keep renews a lock until ctx ends or it is lost.
func (k *lock) keep(ctx context.Context) {
	pause := k.of.lease / 3
	for sleep(ctx, pause) == nil {
		// A renewal is not broken off: its message would have a number that nobody knows.
		isHeld, err := k.write(context.WithoutCancel(ctx))
		if pause = k.of.lease / 3; err != nil {
			pause = k.of.lease / 15
		}
		if err == nil && !isHeld || k.isOver() {
			k.mu.Lock()
			k.lost = true
			k.mu.Unlock()
			k.of.logger.Warn("a lock was lost: NATS was not reached for longer than its lease", zap.String("lock", k.name), zap.Error(err))
			return
		}
	}
}

// isOver reports whether a lock is not this process's any more, as far as it knows.
func (k *lock) isOver() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost || !time.Now().Before(k.until)
}

// renew returns an error if a lock is not held any more. It is renewed by itself.
func (l *locks) renew(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.held[name]
	if len(all) == 0 || all[len(all)-1].isOver() {
		return errLockLost
	}
	return nil
}

// unlock releases the lock of a name that was got first. It returns errLockLost if that was lost meanwhile. One that
// is not held need not be released.
func (l *locks) unlock(ctx context.Context, name string) error {
	l.mu.Lock()
	all := l.held[name]
	if len(all) == 0 {
		l.mu.Unlock()
		return nil
	}
	k := all[0]
	if l.held[name] = all[1:]; len(all) == 1 {
		delete(l.held, name)
	}
	l.mu.Unlock()
	return k.end(ctx)
}

// end releases a lock.
func (k *lock) end(ctx context.Context) error {
	k.release()
	select {
	case <-k.released:
	case <-ctx.Done():
		return context.Cause(ctx) // its lease ends
	}
	if k.isOver() {
		return errLockLost
	}
	return k.of.files.do(ctx, func(b *bucket) error {
		m, err := b.last(ctx, k.key)
		if err != nil || m == nil {
			return err
		}
		if string(m.Data) != string(k.content) {
			return errLockLost
		}
		return b.purge(ctx, k.key, m.Sequence)
	})
}

// close releases all locks.
func (l *locks) close(ctx context.Context) {
	l.mu.Lock()
	held := l.held
	l.held = make(map[string][]*lock)
	l.mu.Unlock()
	for _, all := range held {
		for _, k := range all {
			_ = k.end(ctx) // its lease ends
		}
	}
}
