package spool

import (
	"errors"
	"runtime/debug"
	"sync/atomic"
)

// ErrFull means that there is no room for what is to be kept: the disk is full or cannot be
// written to, no file descriptor is left, or all spools together have as much as they may.
var ErrFull = errors.New("there is no room to keep it")

// Defaults of [Limits].
const (
	DefaultMaxMemory int64 = 256 << 20
	DefaultMaxDisk   int64 = 10 << 30
)

// Limits bound what all spools of a [Space] keep together.
type Limits struct {
	// Dir is where the files are. Default: the directory of the system for temporary files.
	Dir string
	// MaxMemory is how much of them is in memory, in bytes. What would be more is put into
	// files, whatever a spool may have in memory by itself. Default: 256 MiB, or a quarter of
	// the process's memory limit, if that is less.
	MaxMemory int64
	// MaxDisk is how much of them is in files, in bytes. What would be more is an [ErrFull].
	// Default: 10 GiB.
	MaxDisk int64
}

func (l Limits) withDefaults() Limits {
	if l.MaxMemory <= 0 {
		l.MaxMemory = min(DefaultMaxMemory, debug.SetMemoryLimit(-1)/4) // which changes no limit
	}
	if l.MaxDisk <= 0 {
		l.MaxDisk = DefaultMaxDisk
	}
	return l
}

// Space is the room that spools share. Its zero value has the default limits.
type Space struct {
	limits       atomic.Pointer[Limits]
	memory, disk atomic.Int64
	full         atomic.Int64
}

// SetLimits changes the limits. What is kept stays, and counts.
func (s *Space) SetLimits(l Limits) {
	l = l.withDefaults()
	s.limits.Store(&l)
}

func (s *Space) current() Limits {
	if l := s.limits.Load(); l != nil {
		return *l
	}
	return Limits{}.withDefaults()
}

// Usage returns how many bytes are kept in memory, and how many in files.
func (s *Space) Usage() (memory, disk int64) { return s.memory.Load(), s.disk.Load() }

// Full returns how often there was no room.
func (s *Space) Full() int64 { return s.full.Load() }

// take adds n to what is used of limit, and reports whether there is as much.
func take(used *atomic.Int64, n, limit int64) bool {
	if used.Add(n) > limit {
		used.Add(-n)
		return false
	}
	return true
}
