package nats

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// joinPause is how often what is done once NATS is reached is tried again.
const joinPause = 5 * time.Second

// errAnotherBucket means that NATS has lost its data, and has been given a bucket anew.
var errAnotherBucket = errors.New("NATS has lost the certificates in the meantime")

// join gives NATS what this proxy has had before, unless it has done so, and removes the copies of what is not in
// NATS any more. It tries until the config ends.
func (s *sharedStorage) join() {
	defer func() {
		s.mu.Lock()
		s.isJoining = false
		s.mu.Unlock()
	}()
	for {
		given, to, err := s.contribute(s.ctx)
		if err == nil {
			s.mu.Lock()
			s.joined = to
			s.mu.Unlock()
			if given > 0 {
				s.logger.Info("the certificates and accounts that this proxy had are shared with its fleet", zap.Int("files", given))
			}
			err = s.prune(s.ctx)
		}
		if err == nil {
			return
		}
		if sleep(s.ctx, joinPause) != nil {
			return
		}
		s.logger.Warn("what this proxy has of certificates could not be shared with its fleet yet", zap.Error(err))
	}
}

// AwaitShared implements [fleet.CertificateStorage].
func (s *sharedStorage) AwaitShared(ctx context.Context) error {
	for !s.hasJoined() {
		if s.ctx.Err() != nil {
			return errors.New("the config was replaced") // and the next one has another storage
		}
		s.heard(s.files.do(ctx, func(*bucket) error { return nil }))
		if err := sleep(ctx, lockPause); err != nil {
			return err
		}
	}
	return nil
}

// contribute gives NATS the certificates and accounts that it does not have and this proxy has: of its own storage, when it
// joins a fleet, and of the copies, when NATS has lost its data. A bucket is given them once by each proxy. It returns how
// many files it has given, and the bucket.
func (s *sharedStorage) contribute(ctx context.Context) (given int, to *bucket, err error) {
	mark := prefixImported + token(s.name)
	isDone := false
	err = s.files.do(ctx, func(b *bucket) error {
		to = b
		m, err := b.last(ctx, mark)
		isDone = m != nil
		return err
	})
	if err != nil || isDone {
		return 0, to, err
	}
	const lock = "parachute_contribute"
	if _, err := s.locks.acquire(ctx, lock, true); err != nil {
		return 0, to, err
	}
	defer func() { _ = s.locks.unlock(context.WithoutCancel(ctx), lock) }()
	shared, err := s.files.files(ctx, "")
	if err != nil {
		return 0, to, err
	}
	// A certificate without its key is of no use, nor is one with that of another proxy: folders are given whole.
	if s.begunIn != to {
		s.begun, s.begunIn = make(map[string]bool), to
	}
	taken := make(map[string]bool)
	for _, key := range shared {
		if folder := path.Dir(key); !s.begun[folder] {
			taken[folder] = true
		}
	}
	for _, from := range []*certmagic.FileStorage{s.copies, s.local} {
		var mine []string
		for _, folder := range []string{"certificates", "acme"} {
			files, err := filesOf(ctx, from, folder)
			if err != nil {
				return given, to, err
			}
			mine = append(mine, files...)
		}
		gives := make(map[string]bool)
		for _, key := range mine {
			if folder := path.Dir(key); isCopied(key) && !isOwn(key) && !taken[folder] {
				s.begun[folder] = true // so that what is left is given the next time, if this fails
				if err := s.give(ctx, from, key); err != nil {
					return given, to, err
				}
				gives[folder] = true
				given++
			}
		}
		for folder := range gives {
			taken[folder] = true
		}
	}
	return given, to, s.files.do(ctx, func(b *bucket) error {
		if b != to {
			return errAnotherBucket
		}
		_, err := b.put(ctx, mark, nil)
		return err
	})
}

// give stores a file in NATS, unless there is one by now.
func (s *sharedStorage) give(ctx context.Context, from certmagic.Storage, key string) error {
	value, err := from.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.files.store(ctx, key, value, jetstream.WithExpectLastSequencePerSubject(0))
	}
	if isConflict(err) {
		return nil
	}
	return err
}

// prune removes the copies of what is not in NATS any more, if they are older than the config. What NATS has lost is in
// the copies alone, so it removes none unless the same answer of NATS says that this proxy has contributed.
func (s *sharedStorage) prune(ctx context.Context) error {
	mine, err := filesOf(ctx, s.copies, "")
	if err != nil {
		return err
	}
	var shared []string
	err = s.files.do(ctx, func(b *bucket) error {
		keys, err := b.keys(ctx, ">")
		if err != nil {
			return err
		}
		if !slices.Contains(keys, prefixImported+token(s.name)) {
			return errAnotherBucket
		}
		shared, err = namesOf(keys)
		return err
	})
	if err != nil {
		return err
	}
	isShared := make(map[string]bool, len(shared))
	for _, key := range shared {
		isShared[key] = true
	}
	for _, key := range mine {
		if isShared[key] {
			continue
		}
		// What has been written since may be new, or half of a copy that is about to get its name.
		if info, err := s.copies.Stat(ctx, key); err != nil || !info.Modified.Before(s.began) {
			continue
		}
		if err := s.copies.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// filesOf returns the files in a folder of a storage, and those below. The folder need not be there.
func filesOf(ctx context.Context, from certmagic.Storage, folder string) (files []string, err error) {
	keys, err := from.List(ctx, folder, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		info, err := from.Stat(ctx, key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have been written under another name first
			return nil, err
		}
		if err == nil && info.IsTerminal {
			files = append(files, key)
		}
	}
	return files, nil
}
