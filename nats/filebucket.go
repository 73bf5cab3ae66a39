package nats

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Keys of the bucket of certificates, which is on disk:
//
//	file.PATH        the value of a key of [certmagic.Storage], one token for each of its parts
//	lock.NAME        a lock, which goes by itself unless it is renewed; see [locks]
//	imported.PROXY   a proxy has given what it had by itself; see [sharedStorage.contribute]
const (
	prefixFile     = "file."
	prefixLock     = "lock."
	prefixImported = "imported."
)

// maxKey bounds what a key takes in NATS, whose commands have 4096 bytes in all by default.
const maxKey = 2048

// limitError says that NATS cannot have a value, now or later.
type limitError struct{ reason string }

func (e *limitError) Error() string { return e.reason }

// fileBucket is the bucket of certificates: files and folders, as [certmagic.Storage] has them. A folder is there as long as
// it has files.
type fileBucket struct {
	link *link
	// current is the bucket once it was reached; nil before that, and again when it is found to be gone.
	current atomic.Pointer[bucket]
}

// open returns the bucket, and makes it if there is none.
func (f *fileBucket) open(ctx context.Context) (*bucket, error) {
	nc, err := f.link.dial(ctx)
	if err != nil {
		return nil, err
	}
	if b := f.current.Load(); b != nil {
		return b, nil
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	b := &bucket{js: js, name: f.link.address.bucket + "-certificates", keeps: true, history: 1, replicas: f.link.replicas(nc)}
	if err := b.make(ctx); err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, b.stream())
	if err != nil {
		return nil, err
	}
	b.created = stream.CachedInfo().Created
	if !f.current.CompareAndSwap(nil, b) { // another goroutine was first
		return f.open(ctx)
	}
	return b, nil
}

// do calls a function with the bucket. The next call makes the bucket anew if it is gone.
func (f *fileBucket) do(ctx context.Context, call func(*bucket) error) error {
	b, err := f.open(ctx)
	if err == nil {
		err = call(b)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		f.current.CompareAndSwap(b, nil)
	}
	return explain(err)
}

// fileKey returns what a key of a storage is in the bucket. The empty key is the folder of all.
func fileKey(key string) (string, error) {
	b := strings.TrimSuffix(prefixFile, ".")
	for _, part := range strings.Split(key, "/") {
		if part != "" {
			b += "." + token(part)
		}
	}
	if len(b) > maxKey {
		return "", &limitError{fmt.Sprintf("the key %.40q... is too long for NATS: it takes %d bytes of %d", key, len(b), maxKey)}
	}
	return b, nil
}

// nameOf is the contrary of [fileKey].
func nameOf(key string) (string, error) {
	parts := strings.Split(strings.TrimPrefix(key, prefixFile), ".")
	for i, part := range parts {
		name, err := untoken(part)
		if err != nil {
			return "", fmt.Errorf("reading the key %s: %w", key, err)
		}
		parts[i] = name
	}
	return strings.Join(parts, "/"), nil
}

// namesOf returns the names of those keys that are of files.
func namesOf(keys []string) (names []string, err error) {
	for _, key := range keys {
		if !strings.HasPrefix(key, prefixFile) {
			continue
		}
		name, err := nameOf(key)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func notFound(op, key string) error { return &fs.PathError{Op: op, Path: key, Err: fs.ErrNotExist} }

// store writes a value.
func (f *fileBucket) store(ctx context.Context, name string, value []byte, opts ...jetstream.PublishOpt) error {
	key, err := fileKey(name)
	if err != nil {
		return err
	}
	return f.do(ctx, func(b *bucket) error {
		if limit := b.js.Conn().MaxPayload() - headroom; int64(len(value)) > limit {
			return &limitError{fmt.Sprintf("%s takes %d bytes, and NATS takes messages of %d: have it take more (max_payload)", name, len(value), limit)}
		}
		_, err := b.put(ctx, key, value, opts...)
		return err
	})
}

// load returns a value and what is known of it. The error of a key that has none is [fs.ErrNotExist].
func (f *fileBucket) load(ctx context.Context, name string) (value []byte, info certmagic.KeyInfo, err error) {
	key, err := fileKey(name)
	if err != nil {
		return nil, info, err
	}
	err = f.do(ctx, func(b *bucket) error {
		m, err := b.last(ctx, key)
		if err != nil {
			return err
		}
		if m == nil {
			return notFound("load", name)
		}
		value = m.Data
		info = certmagic.KeyInfo{Key: name, Modified: m.Time, Size: int64(len(m.Data)), IsTerminal: true}
		return nil
	})
	return value, info, err
}

// stat returns what is known of a file or a folder.
func (f *fileBucket) stat(ctx context.Context, name string) (certmagic.KeyInfo, error) {
	_, info, err := f.load(ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	files, err := f.files(ctx, name)
	if err != nil {
		return info, err
	}
	if len(files) == 0 {
		return info, notFound("stat", name)
	}
	return certmagic.KeyInfo{Key: name}, nil
}

// delete removes a file, or a folder with all that is in it. It need not be there.
func (f *fileBucket) delete(ctx context.Context, name string) error {
	key, err := fileKey(name)
	if err != nil {
		return err
	}
	return f.do(ctx, func(b *bucket) error {
		if err := b.purgeAll(ctx, key); err != nil {
			return err
		}
		return b.purgeAll(ctx, key+".>")
	})
}

// files returns the names of all files in a folder and those below.
func (f *fileBucket) files(ctx context.Context, folder string) (names []string, err error) {
	key, err := fileKey(folder)
	if err != nil {
		return nil, err
	}
	err = f.do(ctx, func(b *bucket) error {
		keys, err := b.keys(ctx, key+".>")
		if err == nil {
			names, err = namesOf(keys)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// list returns the files and folders in a folder, and with recursive those below as well.
func (f *fileBucket) list(ctx context.Context, folder string, recursive bool) ([]string, error) {
	files, err := f.files(ctx, folder)
	if err != nil {
		return nil, err
	}
	if folder = strings.Trim(folder, "/"); folder != "" && len(files) == 0 {
		if _, _, err := f.load(ctx, folder); err != nil {
			return nil, err
		}
	}
	return entries(folder, files, recursive), nil
}

// entries returns the files in a folder, and the folders that those are in.
func entries(folder string, files []string, recursive bool) (all []string) {
	seen := make(map[string]bool)
	for _, file := range files {
		rest := strings.TrimPrefix(strings.TrimPrefix(file, folder), "/")
		name := folder
		for _, part := range strings.Split(rest, "/") {
			if name = path.Join(name, part); !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
			if !recursive {
				break
			}
		}
	}
	return all
}

// isUnreachable reports whether an error means that NATS was not reached, so that it may be otherwise later.
func isUnreachable(err error) bool {
	_, isLimit := errors.AsType[*limitError](err)
	return err != nil && !isLimit && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, nats.ErrConnectionClosed)
}
