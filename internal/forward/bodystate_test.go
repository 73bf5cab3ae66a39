package forward

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

func TestBodyIsReadOnceUnlessItIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		events []bodyEvent
		want   bodyProgress
	}{
		{nil, bodyUnread},
		{[]bodyEvent{bodyAsked}, bodyBegun},
		{[]bodyEvent{bodyAsked, bodyAsked}, bodyBegun},
		{[]bodyEvent{bodyAsked, bodyAtEnd}, bodyEnded},
		// Whoever asks once more finds the same end.
		{[]bodyEvent{bodyAsked, bodyAtEnd, bodyAsked, bodyAtEnd}, bodyEnded},
		{[]bodyEvent{bodyAsked, bodyTakenBack}, bodyUnread},
		{[]bodyEvent{bodyAsked, bodyAtEnd, bodyTakenBack}, bodyUnread},
		{[]bodyEvent{bodyAsked, bodyAtEnd, bodyTakenBack, bodyAsked}, bodyBegun},
	} {
		if got := follow(bodyUnread, bodyProgress.after, c.events); got != c.want {
			t.Errorf("%v lead to %d, want %d", c.events, got, c.want)
		}
	}
}

func TestClientThatStopsSendingIsToldFromOneThatSendsRubbish(t *testing.T) {
	var f bodyFailure
	if f.Load() || f.stalled() {
		t.Error("a body that nobody has read has a fault")
	}
	for _, c := range []struct {
		err     error
		stalled bool
	}{
		{errors.New("malformed chunk"), false},
		{fmt.Errorf("reading: %w", os.ErrDeadlineExceeded), true},
		{errors.New("malformed chunk"), false}, // what comes last counts
	} {
		f.note(bodyFaultOf(c.err))
		if !f.Load() || f.stalled() != c.stalled {
			t.Errorf("%v: fault %v, stalled %v", c.err, f.Load(), f.stalled())
		}
	}
}

func TestNothingInformationalFollowsTheAnswer(t *testing.T) {
	for _, c := range []struct {
		from   interim
		events []interimEvent
		want   interim
	}{
		{interimOpen, []interimEvent{interimContinue}, interimOpen},
		// The client is told once.
		{interimAwaited, []interimEvent{interimContinue}, interimOpen},
		{interimAwaited, []interimEvent{interimAnswer}, interimOver},
		{interimOpen, []interimEvent{interimAnswer, interimContinue}, interimOver},
		{interimAwaited, []interimEvent{interimAnswer, interimContinue, interimAnswer}, interimOver},
	} {
		if got := follow(c.from, interim.after, c.events); got != c.want {
			t.Errorf("%v lead from %d to %d, want %d", c.events, c.from, got, c.want)
		}
	}
}

// follow returns the state that events lead to.
func follow[S, E any](from S, after func(S, E) S, events []E) S {
	for _, e := range events {
		from = after(from, e)
	}
	return from
}
