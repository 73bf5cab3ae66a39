package forward

// callEnding is how far a gRPC answer that is to be closed, and may be the answer to a call,
// has come with ending by itself.
type callEnding uint8

const (
	// callUnasked: nobody has waited for its end.
	callUnasked callEnding = iota
	// callAwaited: its trailers have time to come.
	callAwaited
	// callOverdue: they have not come in that time.
	callOverdue
)

// callEndingEvent is what happens to such an answer.
type callEndingEvent int

const (
	// callAtBoundary: a message has passed, behind which the answer would be closed.
	callAtBoundary callEndingEvent = iota
	// callTimeOver: the time for the trailers behind that message is over.
	callTimeOver
)

// callEndingAfter says what leads where.
var callEndingAfter = [...][2]callEnding{
	callUnasked: {callAtBoundary: callAwaited, callTimeOver: callUnasked},
	callAwaited: {callAtBoundary: callAwaited, callTimeOver: callOverdue},
	callOverdue: {callAtBoundary: callAwaited, callTimeOver: callOverdue},
}

func (c callEnding) after(e callEndingEvent) callEnding { return callEndingAfter[c][e] }
