package spool

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// tempFile returns a file in dir that the system removes when its last handle is closed, as it
// does when the process ends.
func tempFile(dir string) (*os.File, error) {
	name := filepath.Join(dir, "parachute-body-"+rand.Text())
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|windows.O_FILE_FLAG_DELETE_ON_CLOSE, 0o600)
}
