package nats

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

const (
	// joinPatience is how long reads wait for NATS after the start: its servers may be starting, too.
	joinPatience = 5 * time.Second
	// readPatience is how long a read waits for an answer before the copies are read.
	readPatience = 2 * requestTimeout
	// blindTime is how long reads go to the copies at once when NATS has not answered one.
	blindTime = 5 * time.Second
	// writePatience is how long a write is tried again. Its servers agree on another leader within ten seconds.
	writePatience = 30 * time.Second
)

// sharedStorage is a [certmagic.Storage] in NATS. Keys that were read or written are copied to the disk, and are read there
// as long as NATS does not answer. Nothing is written then.
type sharedStorage struct {
	files *fileBucket
	locks *locks
	// copies is where the copies are, and local the storage that this proxy has had by itself.
	copies, local *certmagic.FileStorage
	// name is that of the proxy.
	name   string
	logger *zap.Logger
	began  time.Time
	// ctx ends with the config.
	ctx    context.Context
	cancel context.CancelFunc

	// mu guards what follows.
	mu sync.Mutex
	// blindUntil is when NATS is asked again, after it has not answered.
	blindUntil time.Time
	// joined is the bucket that has what this proxy had: what another one does not have may be on the disk. It is
	// another one when NATS has lost its data. Nil before the first.
	joined *bucket
	// isJoining says that [sharedStorage.join] runs.
	isJoining bool
	// begun are the folders of which join has given begunIn a part.
	begun   map[string]bool
	begunIn *bucket
}

// Interface guards.
var (
	_ certmagic.Storage          = (*sharedStorage)(nil)
	_ certmagic.TryLocker        = (*sharedStorage)(nil)
	_ certmagic.LockLeaseRenewer = (*sharedStorage)(nil)
	_ fleet.CertificateStorage   = (*sharedStorage)(nil)
)

func newSharedStorage(files *fileBucket, name string, logger *zap.Logger) *sharedStorage {
	s := &sharedStorage{files: files, name: name, logger: logger, began: time.Now()}
	s.locks = newLocks(files, name, lockLease, logger)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// patience returns how long a read waits for NATS. None if it has just not answered.
func (s *sharedStorage) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.blindUntil) {
		return 0
	}
	return max(joinPatience-time.Since(s.began), readPatience)
}

// heard notes whether NATS has answered.
func (s *sharedStorage) heard(err error) {
	s.mu.Lock()
	wasBlind := !s.blindUntil.IsZero()
	if s.blindUntil = (time.Time{}); isUnreachable(err) {
		s.blindUntil = time.Now().Add(blindTime)
	}
	isBlind := !s.blindUntil.IsZero()
	joins := !isBlind && !s.isJoining && !s.isJoined()
	if joins {
		s.isJoining = true
	}
	s.mu.Unlock()
	if joins {
		go s.join()
	}
	switch {
	case isBlind && !wasBlind:
		s.logger.Warn("NATS does not answer: certificates are read from the copies on this machine, and none are ordered", zap.Error(err))
	case !isBlind && wasBlind:
		s.logger.Info("NATS answers again")
	}
}

// read asks NATS, or has the copies be read if that does not answer.
func (s *sharedStorage) read(ctx context.Context, remote func(context.Context) error, copied func(certmagic.Storage) error) error {
	err := errNoAnswer
	hadJoined := s.hasJoined() // while NATS is asked, it may be given what it then says it does not have
	if patience := s.patience(); patience > 0 {
		asking, cancel := context.WithTimeout(ctx, patience)
		err = remote(asking)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.heard(err)
	}
	if isUnreachable(err) || errors.Is(err, fs.ErrNotExist) && (!hadJoined || !s.hasJoined()) {
		for _, from := range []certmagic.Storage{s.copies, s.local} {
			if copied(from) == nil {
				return nil
			}
		}
	}
	return err
}

// hasJoined reports whether NATS has what this proxy had.
func (s *sharedStorage) hasJoined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isJoined()
}

// isJoined is [sharedStorage.hasJoined] for callers that hold mu.
func (s *sharedStorage) isJoined() bool { return s.joined != nil && s.joined == s.files.current.Load() }

// write has NATS write something, and tries it again for a while if that does not answer: what is written has often cost
// an order.
func (s *sharedStorage) write(ctx context.Context, remote func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	for {
		trying, stop := context.WithTimeout(ctx, readPatience)
		err := remote(trying)
		stop()
		if !isUnreachable(err) {
			s.heard(err)
			return err
		}
		if sleep(ctx, lockPause) != nil {
			return err
		}
	}
}

// Store implements [certmagic.Storage].
func (s *sharedStorage) Store(ctx context.Context, key string, value []byte) error {
	if isOwn(key) {
		return s.local.Store(ctx, key, value)
	}
	if err := s.write(ctx, func(ctx context.Context) error { return s.files.store(ctx, key, value) }); err != nil {
		return err
	}
	s.copy(ctx, key, value)
	return nil
}

// copy keeps a value for when NATS does not answer.
func (s *sharedStorage) copy(ctx context.Context, key string, value []byte) {
	if !isCopied(key) {
		return
	}
	if old, err := s.copies.Load(ctx, key); err == nil && string(old) == string(value) {
		return
	}
	if err := s.copies.Store(ctx, key, value); err != nil {
		s.logger.Error("a certificate could not be copied to the disk: without NATS, this proxy does not have it", zap.String("key", key), zap.Error(err))
	}
}

// Load implements [certmagic.Storage].
func (s *sharedStorage) Load(ctx context.Context, key string) (value []byte, err error) {
	if isOwn(key) {
		return s.local.Load(ctx, key)
	}
	err = s.read(ctx, func(ctx context.Context) (err error) {
		if value, _, err = s.files.load(ctx, key); err == nil {
			s.copy(ctx, key, value)
		}
		return err
	}, func(from certmagic.Storage) (err error) {
		value, err = from.Load(ctx, key)
		return err
	})
	return value, err
}

// Delete implements [certmagic.Storage].
func (s *sharedStorage) Delete(ctx context.Context, key string) error {
	if isOwn(key) {
		return s.local.Delete(ctx, key)
	}
	if err := s.write(ctx, func(ctx context.Context) error { return s.files.delete(ctx, key) }); err != nil {
		return err
	}
	for _, own := range ownPrefixes {
		if isWithin(own, key) {
			if err := s.local.Delete(ctx, own); err != nil {
				return err
			}
		}
	}
	return s.copies.Delete(ctx, key)
}

// Exists implements [certmagic.Storage].
func (s *sharedStorage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// Stat implements [certmagic.Storage].
func (s *sharedStorage) Stat(ctx context.Context, key string) (info certmagic.KeyInfo, err error) {
	if isOwn(key) {
		return s.local.Stat(ctx, key)
	}
	err = s.read(ctx, func(ctx context.Context) (err error) {
		info, err = s.files.stat(ctx, key)
		return err
	}, func(from certmagic.Storage) (err error) {
		info, err = from.Stat(ctx, key)
		return err
	})
	return info, err
}

// List implements [certmagic.Storage]. As in Caddy's storage of files, folders are listed as well.
func (s *sharedStorage) List(ctx context.Context, folder string, recursive bool) (keys []string, err error) {
	folder = strings.Trim(folder, "/")
	if isOwn(folder) {
		return s.local.List(ctx, folder, recursive)
	}
	err = s.read(ctx, func(ctx context.Context) (err error) {
		keys, err = s.files.list(ctx, folder, recursive)
		return err
	}, func(from certmagic.Storage) (err error) {
		keys, err = from.List(ctx, folder, recursive)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, own := range ownPrefixes {
		if !isWithin(own, folder) {
			continue
		}
		if files, listErr := filesOf(ctx, s.local, own); listErr == nil && len(files) > 0 {
			keys, err = append(keys, entries(folder, files, recursive)...), nil
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// Lock implements [certmagic.Storage].
func (s *sharedStorage) Lock(ctx context.Context, name string) error {
	_, err := s.locks.acquire(ctx, name, true)
	if ctx.Err() == nil {
		s.heard(err) // what was done before by whoever had it is to be seen
	}
	return err
}

// TryLock implements [certmagic.TryLocker].
func (s *sharedStorage) TryLock(ctx context.Context, name string) (bool, error) {
	isHeld, err := s.locks.acquire(ctx, name, false)
	if ctx.Err() == nil {
		s.heard(err)
	}
	return isHeld, err
}

// Unlock implements [certmagic.Storage].
func (s *sharedStorage) Unlock(ctx context.Context, name string) error {
	return s.locks.unlock(ctx, name)
}

// RenewLockLease implements [certmagic.LockLeaseRenewer]: whoever is about to go on learns whether the lock was lost. It is
// renewed by itself.
func (s *sharedStorage) RenewLockLease(_ context.Context, name string, _ time.Duration) error {
	return s.locks.renew(name)
}
