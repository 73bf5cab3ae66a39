package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/caddyserver/caddy/v2"

	"github.com/parachute-proxy/parachute/internal/cli"
)

// lockStorage keeps a second proxy away from the state of the first, for as long as the file is
// open in any process.
func (o *options) lockStorage() (lock *os.File, err error) {
	root, flag := o.storageDir(), "--storage"
	if o.fleet != "" {
		root, flag = o.fleetDirectory(), "--fleet-dir" // the storage is that of all proxies
	}
	if !filepath.IsAbs(root) && o.storage == "" && o.fleetDir == "" {
		return nil, cli.FailedStart("give a directory with --storage, such as /var/lib/parachute",
			"there is no directory for the state: HOME and XDG_DATA_HOME are both not set")
	}
	dir := filepath.Join(root, "parachute")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, syscall.ENOTDIR) {
			return nil, cli.FailedStart("give a directory with "+flag+", such as /var/lib/parachute",
				"the storage directory cannot be %s: %s is not a directory", root, failed.Path)
		}
		return nil, cli.FailedStart("make it writable for this user, or choose another with "+flag, "making the storage directory: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, cli.FailedStart("make it writable for this user, or choose another with "+flag, "opening the storage directory: %v", err)
	}
	locked, err := tryLock(f)
	switch {
	case err != nil:
		f.Close()
		return nil, cli.FailedStart("", "locking the storage %s: %v", root, err)
	case !locked:
		f.Close()
		return nil, cli.FailedStart("stop it, or give this proxy its own storage with "+flag,
			"another proxy is running with the storage %s", root)
	}
	return f, nil
}

// LockStorage keeps proxies away from the state in a directory until unlock is called. It returns an
// error if a proxy runs with it.
func LockStorage(dir string) (unlock func(), err error) {
	lock, err := (&options{storage: dir}).lockStorage()
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Close() }, nil
}

func (o *options) storageDir() string {
	if o.storage != "" {
		return o.storage
	}
	return caddy.AppDataDir()
}
