//go:build unix

package spool

import (
	"os"
	"testing"
)

// TestFilesLoseTheirNames where the system knows no file without a name.
func TestFilesLoseTheirNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := unlinkedFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files in the directory: %v, %v", files, err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Errorf("writing to a file without a name: %v", err)
	}
}
