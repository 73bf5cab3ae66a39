package forward

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestOnlyWhoWasAskedParts(t *testing.T) {
	const ask, boundary, written = partingAsk, partingBoundary, partingWritten
	for _, c := range []struct {
		events []partingEvent
		want   parting
	}{
		{nil, partingNone},
		{[]partingEvent{boundary, written, boundary}, partingNone},
		{[]partingEvent{ask}, partingAsked},
		// What is written before the close frame is what the target has sent.
		{[]partingEvent{ask, written, ask}, partingAsked},
		{[]partingEvent{ask, boundary}, partingTelling},
		{[]partingEvent{ask, boundary, ask, boundary}, partingTelling},
		{[]partingEvent{ask, boundary, written}, partingTold},
		{[]partingEvent{ask, boundary, written, ask, boundary, written}, partingTold},
	} {
		if got := follow(partingNone, parting.after, c.events); got != c.want {
			t.Errorf("%v lead to %d, want %d", c.events, got, c.want)
		}
	}
}

func TestOfManyWhoAskForACloseOneBeginsIt(t *testing.T) {
	u := newTunnelConn(nil, nil, true, new(Traffic))
	var first atomic.Int64
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			if u.note(partingAsk) == partingNone {
				first.Add(1)
			}
		})
	}
	asking.Wait()
	if first.Load() != 1 || !u.closing() || u.clientTold() {
		t.Errorf("%d have begun it; closing %v, told %v", first.Load(), u.closing(), u.clientTold())
	}
}
