package fleet

import (
	"errors"
	"slices"
	"sync"
)

// Seat is the place of this proxy in its fleet. One of the processes of the proxy has it at a time, and what must not run twice
// runs in that one, such as a server of the fleet. A process has it from its start on, unless it takes over from another one.
var Seat = &seat{has: true}

// Occupant is what runs in the process that has the [Seat].
type Occupant interface {
	// Sit begins it, and returns an error if it does not run yet: then it is tried again until Rise.
	Sit() error
	// Rise ends it, and returns when it has ended.
	Rise()
}

type seat struct {
	// changing is held while the seat is given or taken.
	changing sync.Mutex

	// mu guards what follows.
	mu        sync.Mutex
	has       bool
	occupants []Occupant
}

// Has reports whether this process has the seat.
func (s *seat) Has() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has
}

// Add adds what is to end when the seat is given to another process. It begins by itself if [seat.Has] says that it may.
func (s *seat) Add(o Occupant) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.occupants = append(s.occupants, o)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.occupants = slices.DeleteFunc(s.occupants, func(other Occupant) bool { return other == o })
	}
}

// Give leaves the seat to another process. It returns when all that has run in it has ended.
func (s *seat) Give() {
	s.changing.Lock()
	defer s.changing.Unlock()
	for _, o := range s.change(false) {
		o.Rise()
	}
}

// Take has this process have the seat. It returns an error if something does not run in it yet.
func (s *seat) Take() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	var failed []error
	for _, o := range s.change(true) {
		failed = append(failed, o.Sit())
	}
	return errors.Join(failed...)
}

func (s *seat) change(has bool) []Occupant {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has = has
	return slices.Clone(s.occupants)
}
