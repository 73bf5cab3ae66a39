//go:build unix && !linux

package spool

import "os"

// tempFile returns a file that has lost its name in dir.
func tempFile(dir string) (*os.File, error) { return unlinkedFile(dir) }
