package nats

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
)

// Storage is a storage of Caddy for certificates, which the proxies of a fleet share in NATS: each certificate is
// ordered once, by one of them. The proxy has a copy on its disk of what it has used, and goes on with that while
// NATS cannot be reached.
type Storage struct {
	Connection
	// Name is that of this proxy in the fleet. Required.
	Name string `json:"name"`
	// Dir is the directory of this proxy's own, as that of the fleet. The copies are in its folder storage.
	// Required.
	Dir string `json:"dir"`
	// Local is the directory of the storage that this proxy has had by itself. What NATS does not have of the
	// certificates and accounts there is given to the fleet, once. Caddy's own certificate authority, and what it
	// issues, stays there. Default: Caddy's data directory.
	Local string `json:"local,omitempty"`

	storage *sharedStorage
	release func()
}

// CaddyModule returns the Caddy module information.
func (*Storage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.parachute_nats", New: func() caddy.Module { return new(Storage) }}
}

// Provision checks the config. It neither reaches nor starts anything.
func (s *Storage) Provision(ctx caddy.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Name == "" || s.Dir == "" {
		return errors.New("parachute_nats: name and dir are required")
	}
	if s.Local == "" {
		s.Local = caddy.AppDataDir()
	}
	logger := ctx.Logger()
	// The link may outlive the config, and with it this logger.
	l, release, err := s.open(s.Name, s.Dir, caddy.Log().Named("parachute.fleet"))
	if err != nil {
		return err
	}
	s.release = release
	s.storage = newSharedStorage(&fileBucket{link: l}, s.Name, logger)
	s.storage.copies = copiesIn(s.Dir)
	s.storage.local = &certmagic.FileStorage{Path: s.Local}
	return nil
}

// copiesIn returns where the copies are in the directory of a proxy.
func copiesIn(dir string) *certmagic.FileStorage {
	return &certmagic.FileStorage{Path: filepath.Join(dir, "storage")}
}

// CertMagicStorage implements [caddy.StorageConverter].
func (s *Storage) CertMagicStorage() (certmagic.Storage, error) { return s.storage, nil }

// closeTimeout bounds how long locks are released when the process exits.
const closeTimeout = 2 * time.Second

// Cleanup gives back the connection, and releases all locks when the process exits. An order outlives a reload, and so does
// its lock.
func (s *Storage) Cleanup() error {
	if s.storage == nil {
		return nil
	}
	s.storage.cancel()
	if caddy.Exiting() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.storage.locks.close(ctx)
	}
	s.release()
	return nil
}

// UnmarshalCaddyfile sets up the storage from Caddyfile tokens:
//
//	storage parachute_nats {
//		url         nats://10.0.0.1,10.0.0.2,10.0.0.3
//		server      10.0.0.1
//		secret_file /etc/parachute/fleet-secret
//		name        proxy-1
//		dir         /var/lib/parachute/fleet
//		local       /var/lib/caddy
//	}
func (s *Storage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	options := map[string]*string{
		"url": &s.URL, "server": &s.Server, "secret_file": &s.SecretFile, "name": &s.Name, "dir": &s.Dir, "local": &s.Local,
	}
	for d.NextBlock(0) {
		value, ok := options[d.Val()]
		if !ok {
			return d.Errf("unknown option %s", d.Val())
		}
		if *value != "" {
			return d.Errf("%s is given twice", d.Val())
		}
		if !d.AllArgs(value) {
			return d.ArgErr()
		}
	}
	return nil
}

// ownPrefixes are what each proxy has for itself, in its local storage: the certificate authority of Caddy, which has to be
// there before anything is reached, and what that issues.
var ownPrefixes = []string{"pki", "certificates/local"}

// isWithin reports whether a key is that of a folder, or below it.
func isWithin(key, folder string) bool {
	return folder == "" || key == folder || strings.HasPrefix(key, folder+"/")
}

func isOwn(key string) bool { return isWithin(key, ownPrefixes[0]) || isWithin(key, ownPrefixes[1]) }

// isCopied reports whether a key is of use while NATS cannot be reached: that of a certificate or an account, and
// nothing that is gone in a moment.
func isCopied(key string) bool {
	return (isWithin(key, "certificates") || isWithin(key, "acme")) && !strings.Contains(key, "/challenge_tokens/")
}

// String identifies the storage across reloads.
func (s *sharedStorage) String() string {
	a := s.files.link.address
	return fmt.Sprintf("parachute_nats:%s/%s,%s", strings.Join(a.servers, ","), a.bucket, s.copies.Path)
}
