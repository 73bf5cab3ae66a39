package parachute

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

const (
	// memberKey is where it is noted, in the directory of a proxy, that it has been part of a fleet, as [fleet.Imports].
	memberKey = "parachute/member.json"
	// shareLock keeps the proxies of a fleet from sharing certificates at a time.
	shareLock = "parachute_share"
	// importTimeout bounds how long what is noted may take to be read or written, and what a start shares.
	importTimeout = 30 * time.Second
)

// fleetImports are the services that a proxy brings into its fleet: those that are in its directory when it is part of one for the
// first time.
type fleetImports struct {
	*store
	logger *zap.Logger

	// mu guards what follows.
	mu sync.Mutex
	// shared is the storage of the certificates of the fleet, in the newest config.
	shared certmagic.Storage
	// begun are the folders that share has written to.
	begun map[string]bool
}

// pending returns those that the fleet may not have, and whether they have been noted.
func (i *fleetImports) pending() (note fleet.Imports, isNoted bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	defer cancel()
	content, err := i.storage.Load(ctx, memberKey)
	switch {
	case err == nil:
		return note, true, json.Unmarshal(content, &note)
	case errors.Is(err, fs.ErrNotExist):
		note.Services, err = i.List(ctx)
	}
	return note, false, err
}

// note keeps those that the fleet may not have.
func (i *fleetImports) note(pending fleet.Imports) error {
	content, err := json.Marshal(pending)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	defer cancel()
	return i.storage.Store(ctx, memberKey, content)
}

// begin notes them, so that a later start takes nothing else for a service of this proxy's own, and shares their certificates
// unless the storage of these does so by itself.
func (i *fleetImports) begin(shared certmagic.Storage) error {
	i.mu.Lock()
	i.shared = shared
	i.mu.Unlock()
	pending, isNoted, err := i.pending()
	if err == nil && !isNoted {
		err = i.note(pending)
	}
	if _, byItself := shared.(fleet.CertificateStorage); err != nil || byItself || len(pending.Services) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	defer cancel()
	if err := i.share(ctx); err != nil { // which is tried again
		i.logger.Error("the certificates that this proxy has had are not shared with its fleet yet", zap.Error(err))
	}
	return nil
}

// share gives the fleet the certificates of this proxy and its accounts at authorities, where it has none: whoever serves a
// service next would order them again. Those of the proxy's own authority are of no use to others.
func (i *fleetImports) share(ctx context.Context) error {
	i.mu.Lock()
	shared := i.shared
	i.mu.Unlock()
	if s, ok := shared.(fleet.CertificateStorage); ok {
		return s.AwaitShared(ctx)
	}
	if err := shared.Lock(ctx, shareLock); err != nil {
		return err
	}
	defer func() { _ = shared.Unlock(context.WithoutCancel(ctx), shareLock) }()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.begun == nil {
		i.begun = make(map[string]bool)
	}
	for _, root := range []string{"certificates", "acme"} {
		keys, err := i.storage.List(ctx, root, true)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, key := range keys {
			info, err := i.storage.Stat(ctx, key)
			if err != nil || !info.IsTerminal || strings.HasPrefix(key, "certificates/local/") {
				continue // it was removed meanwhile, or is a folder
			}
			if err := i.give(ctx, shared, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// give stores a file in the storage of the fleet, unless that has something of its folder: a certificate is of no use without
// its own key. mu must be held.
func (i *fleetImports) give(ctx context.Context, shared certmagic.Storage, key string) error {
	folder := path.Dir(key)
	if !i.begun[folder] {
		switch there, err := shared.List(ctx, folder, false); {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case len(there) > 0:
			return nil
		}
	}
	if i.begun[folder] && shared.Exists(ctx, key) {
		return nil
	}
	content, err := i.storage.Load(ctx, key)
	if err != nil {
		return err
	}
	i.begun[folder] = true // so that what is left is given the next time, if this fails
	return shared.Store(ctx, key, content)
}
