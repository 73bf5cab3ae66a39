//go:build !unix

package run

import "os"

// tryLock does not lock: without flock, that the admin socket is taken is what
// keeps a second proxy from starting.
func tryLock(*os.File) (bool, error) { return true, nil }
