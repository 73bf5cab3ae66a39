package parachute

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

// syncFolders makes what has been stored in, or removed from, the folder of a key survive a
// power cut, if the storage is one of files. Caddy's writes a file, syncs and renames it;
// but until the folder is synced as well, the disk may still have the old name. A folder
// that was made for it is an entry of the one above.
func syncFolders(storage certmagic.Storage, folder string) error {
	files, ok := storage.(*certmagic.FileStorage)
	if !ok || runtime.GOOS == "windows" { // where a folder cannot be synced
		return nil
	}
	for dir := files.Filename(folder); ; dir = filepath.Dir(dir) {
		if err := syncFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if up := filepath.Dir(dir); dir == filepath.Clean(files.Path) || up == dir {
			return nil
		}
	}
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// leftoverAge is the age from which a temporary file is nobody's any more. Writing one
// takes an instant.
const leftoverAge = time.Hour

// removeLeftovers removes what writes have left behind that were ended half-way, by a kill
// or a power cut: temporary files in the folders of services.
func removeLeftovers(storage certmagic.Storage) {
	files, ok := storage.(*certmagic.FileStorage)
	if !ok {
		return
	}
	root := files.Filename(servicesPrefix)
	folders, _ := os.ReadDir(root)
	for _, folder := range folders {
		entries, _ := os.ReadDir(filepath.Join(root, folder.Name()))
		for _, entry := range entries {
			if !isTemporary(entry.Name()) || !entry.Type().IsRegular() {
				continue
			}
			if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
				// If it cannot be removed, it is as little in the way as before.
				_ = os.Remove(filepath.Join(root, folder.Name(), entry.Name()))
			}
		}
	}
}

// isTemporary reports whether a file has a name as Caddy's storage gives it until it is
// whole: a random number ([os.CreateTemp] without a pattern).
func isTemporary(name string) bool {
	return name != "" && strings.Trim(name, "0123456789") == ""
}
