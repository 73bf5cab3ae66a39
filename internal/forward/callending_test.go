package forward

import "testing"

func TestAnswerToACallHasTimeForItsTrailersBehindEachMessage(t *testing.T) {
	const boundary, over = callAtBoundary, callTimeOver
	for _, c := range []struct {
		events []callEndingEvent
		want   callEnding
	}{
		{nil, callUnasked},
		{[]callEndingEvent{over}, callUnasked},
		{[]callEndingEvent{boundary}, callAwaited},
		{[]callEndingEvent{boundary, over}, callOverdue},
		{[]callEndingEvent{boundary, over, over}, callOverdue},
		{[]callEndingEvent{boundary, over, boundary}, callAwaited},
	} {
		if got := follow(callUnasked, callEnding.after, c.events); got != c.want {
			t.Errorf("%v lead to %d, want %d", c.events, got, c.want)
		}
	}
}
