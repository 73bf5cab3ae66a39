package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/parachute-proxy/parachute/internal/descriptors"
)

// Spool keeps one body. Its methods but ReadAt, Reader and Close are for one goroutine, and
// ReadAt is for what has been written before. It has to be closed.
type Spool struct {
	space *Space
	// most is how much of the body may be in memory.
	most   int64
	memory []byte
	// file has what comes behind memory; nil if there is nothing.
	file   *os.File
	inFile int64
	closed atomic.Bool
}

// New returns a spool that has up to memory bytes in memory.
func (s *Space) New(memory int64) *Spool { return &Spool{space: s, most: memory} }

// Write keeps p, or nothing of it. Its error is [ErrFull], with the reason.
func (s *Spool) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	limits := s.space.current()
	if s.file == nil && s.Size()+int64(len(p)) <= s.most && take(&s.space.memory, int64(len(p)), limits.MaxMemory) {
		s.memory = append(s.memory, p...)
		return len(p), nil
	}
	if err := s.writeFile(p, limits); err != nil {
		s.space.full.Add(1)
		return 0, fmt.Errorf("%w: %w", ErrFull, err)
	}
	return len(p), nil
}

var errMaxDisk = errors.New("all that is kept on the disk is as much as may be there")

// writeFile writes p behind what is in the file, which it opens first if there is none.
func (s *Spool) writeFile(p []byte, limits Limits) error {
	if s.file == nil {
		if descriptors.Scarce() {
			return errors.New("no file descriptor is left for it")
		}
		dir := limits.Dir
		if dir == "" {
			dir = os.TempDir()
		}
		file, err := tempFile(dir)
		if err != nil {
			return err
		}
		s.file = file
	}
	if !take(&s.space.disk, int64(len(p)), limits.MaxDisk) {
		return errMaxDisk
	}
	if _, err := s.file.WriteAt(p, s.inFile); err != nil {
		s.space.disk.Add(-int64(len(p)))
		return err
	}
	s.inFile += int64(len(p))
	return nil
}

// Size returns how many bytes there are.
func (s *Spool) Size() int64 { return int64(len(s.memory)) + s.inFile }

// ReadAt implements [io.ReaderAt].
func (s *Spool) ReadAt(p []byte, offset int64) (n int, err error) {
	if rest := s.Size() - offset; rest <= int64(len(p)) {
		p, err = p[:max(rest, 0)], io.EOF
	}
	if offset < int64(len(s.memory)) {
		n = copy(p, s.memory[offset:])
	}
	if n == len(p) {
		return n, err
	}
	m, fileErr := s.file.ReadAt(p[n:], offset+int64(n-len(s.memory)))
	if m < len(p)-n {
		return n + m, unexpected(fileErr)
	}
	return n + m, err
}

// unexpected returns the error for a file that has less in it than was written.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Reader returns a reader of all that there is. Others do not change where it is.
func (s *Spool) Reader() io.Reader { return io.NewSectionReader(s, 0, s.Size()) }

// Close gives up what is kept. Reads from a file that are under way fail.
func (s *Spool) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.space.memory.Add(-int64(len(s.memory)))
	s.space.disk.Add(-s.inFile)
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
