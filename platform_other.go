//go:build !unix

package parachute

import "os"

// checkPrivate has nothing to check: the default directory is the user's own.
func checkPrivate(string) error { return nil }

// tryLock does not lock: without flock, that the admin socket is taken is what
// keeps a second proxy from starting.
func tryLock(*os.File) (bool, error) { return true, nil }
