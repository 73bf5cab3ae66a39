package fleettest

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

// errDisk is what a disk says that takes nothing.
var errDisk = errors.New("no space left on device")

// disk is a [proxy.Store] in memory: the directory of one proxy.
type disk struct {
	// mu guards what follows.
	mu              sync.Mutex
	docs, histories map[string][]byte
	// full says that nothing can be written.
	full bool
	// before and after happen at the next write of a document, unless they are nil. An error of before has it
	// not be written.
	before, after func() error
	// read happens once the next history was read, unless it is nil.
	read func()
}

func newDisk() *disk { return &disk{docs: map[string][]byte{}, histories: map[string][]byte{}} }

// copy returns what another process finds.
func (f *disk) copy() *disk {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &disk{docs: maps.Clone(f.docs), histories: maps.Clone(f.histories)}
}

// setFull has the disk take nothing any more, or take what comes.
func (f *disk) setFull(full bool) { f.mu.Lock(); f.full = full; f.mu.Unlock() }

// at has a fault happen before or after the next write of a document.
func (f *disk) at(after bool, fault func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after {
		f.after = fault
	} else {
		f.before = fault
	}
}

// document returns what is stored of a service.
func (f *disk) document(s string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.docs[s]
}

// write writes, unless the disk is full or a fault keeps it from that.
func (f *disk) write(change func()) error {
	f.mu.Lock()
	before, after := f.before, f.after
	f.before, f.after = nil, nil
	f.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	full := f.full
	if !full {
		change()
	}
	f.mu.Unlock()
	switch {
	case full:
		return errDisk
	case after != nil:
		return after()
	}
	return nil
}

func (f *disk) Save(_ context.Context, s string, b []byte, _ func([]byte) bool) error {
	return f.write(func() { f.docs[s] = b })
}

func (f *disk) Delete(_ context.Context, s string) error {
	return f.write(func() { delete(f.docs, s); delete(f.histories, s) })
}

func (f *disk) SaveHistory(_ context.Context, s string, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return errDisk
	}
	f.histories[s] = b
	return nil
}

func (f *disk) LoadHistory(_ context.Context, s string) ([]byte, error) {
	f.mu.Lock()
	content, read := f.histories[s], f.read
	f.read = nil
	f.mu.Unlock()
	if read != nil {
		read()
	}
	if content == nil {
		return nil, fs.ErrNotExist
	}
	return content, nil
}

func (f *disk) Load(_ context.Context, s string) ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.docs[s] == nil {
		return nil, nil
	}
	return [][]byte{f.docs[s]}, nil
}

func (f *disk) List(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.docs)), nil
}
