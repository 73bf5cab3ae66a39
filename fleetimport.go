package parachute

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

// memberKey is where it is noted, in the directory of a proxy, that it is part of a fleet.
const memberKey = "parachute/member.json"

// memberNote is what is under memberKey.
type memberNote struct {
	// Imports are services that the proxy has had before it was part of the fleet, and that the fleet may not have.
	Imports []string `json:"imports,omitempty"`
}

// fleetImports are the services that a proxy brings into its fleet: those that are in its directory when it is part of one for the
// first time.
type fleetImports struct {
	*store
	// shared is the storage of the certificates of the fleet.
	shared certmagic.Storage
	logger *zap.Logger
	// isShared says that shared has those of the services.
	isShared atomic.Bool
}

// importTimeout bounds how long the directory of a proxy may take to be read or written.
const importTimeout = 30 * time.Second

// pending returns those that the fleet may not have, and whether that has been noted.
func (i *fleetImports) pending() (services []string, isNoted bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	defer cancel()
	var note memberNote
	content, err := i.storage.Load(ctx, memberKey)
	switch {
	case err == nil:
		err = json.Unmarshal(content, &note)
		return note.Imports, true, err
	case errors.Is(err, fs.ErrNotExist):
		services, err = i.List(ctx)
	}
	return services, false, err
}

// begin notes them, so that a later start takes nothing else for a service of this proxy's own, and shares their certificates
// unless the storage of these does so by itself.
func (i *fleetImports) begin() error {
	services, isNoted, err := i.pending()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	defer cancel()
	if !isNoted {
		if err := i.write(ctx, memberNote{services}); err != nil {
			return err
		}
	}
	if _, byItself := i.shared.(fleet.CertificateStorage); len(services) == 0 || byItself {
		return nil
	}
	if err := i.share(ctx); err != nil { // which is tried again
		i.logger.Error("the certificates that this proxy has had are not shared with its fleet yet", zap.Error(err))
	}
	return nil
}

// share gives the fleet the certificates of this proxy, its accounts at authorities and its own authority, where it has none: whoever serves a
// service next would order them again.
func (i *fleetImports) share(ctx context.Context) error {
	if i.isShared.Load() {
		return nil
	}
	if s, ok := i.shared.(fleet.CertificateStorage); ok {
		if err := s.AwaitShared(ctx); err != nil {
			return err
		}
		i.isShared.Store(true)
		return nil
	}
	for _, root := range []string{"certificates", "acme", "pki"} {
		keys, err := i.storage.List(ctx, root, true)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		taken := make(map[string]bool) // a certificate is of no use without its own key, so what is in a folder goes together
		for _, key := range keys {
			info, err := i.storage.Stat(ctx, key)
			if err != nil || !info.IsTerminal {
				continue // it was removed meanwhile, or is a folder
			}
			folder := path.Dir(key)
			if _, isKnown := taken[folder]; !isKnown {
				there, _ := i.shared.List(ctx, folder, false)
				taken[folder] = len(there) > 0
			}
			if taken[folder] {
				continue
			}
			content, err := i.storage.Load(ctx, key)
			if err == nil {
				err = i.shared.Store(ctx, key, content)
			}
			if err != nil {
				return err
			}
		}
	}
	i.isShared.Store(true)
	return nil
}

func (i *fleetImports) write(ctx context.Context, note memberNote) error {
	content, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return i.storage.Store(ctx, memberKey, content)
}

// end notes that the fleet has all of them.
func (i *fleetImports) end() {
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	defer cancel()
	if err := i.write(ctx, memberNote{}); err != nil {
		i.logger.Warn("the next start looks again whether the fleet has the services that this proxy has had before", zap.Error(err))
	}
}

// leave notes that the proxy is part of no fleet. The next one gets all services that it has then.
func (i *fleetImports) leave() error {
	if _, isDir := i.storage.(*certmagic.FileStorage); !isDir {
		return nil // no other storage is that of a proxy in a fleet
	}
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	defer cancel()
	if err := i.storage.Delete(ctx, memberKey); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
