//go:build !linux

package run

// releaseProgram does nothing: only Linux is known to keep what a start has used of the program.
func releaseProgram() error { return nil }
