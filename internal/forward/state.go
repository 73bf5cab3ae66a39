package forward

import "sync/atomic"

// state is a state that goroutines change and others look at. Its zero value is the zero
// value of S.
type state[S ~int32] struct{ now atomic.Int32 }

func (s *state[S]) load() S { return S(s.now.Load()) }

// advance puts what after returns in the place of the state, and returns what that was
// before. after is called again if another goroutine has been faster.
func (s *state[S]) advance(after func(S) S) (before S) {
	for {
		before = s.load()
		if s.now.CompareAndSwap(int32(before), int32(after(before))) {
			return before
		}
	}
}
