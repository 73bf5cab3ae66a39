//go:build unix

package spool

import "os"

// unlinkedFile returns a file in dir whose name is removed at once.
func unlinkedFile(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "parachute-body-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
