package forward

// parting is how far an upgraded connection has come with its polite close, as its client
// sees it.
type parting int32

const (
	// partingNone: nobody closes it.
	partingNone parting = iota
	// partingAsked: it is to be closed on the next boundary.
	partingAsked
	// partingTelling: the close frame is on its way to the client.
	partingTelling
	// partingTold: the client has its close frame. All that is left is for it to answer.
	partingTold
)

// partingEvent is what happens to a connection that may be closed.
type partingEvent int

const (
	// partingAsk: a drain, or a stop of the proxy, asks for the close.
	partingAsk partingEvent = iota
	// partingBoundary: a close that was asked for has come to a boundary.
	partingBoundary
	// partingWritten: everything has been written to the client that was to be.
	partingWritten
)

// partingAfter says what leads where. Nothing but being asked begins a close, and nothing
// takes it back.
var partingAfter = [...][3]parting{
	partingNone:    {partingAsk: partingAsked, partingBoundary: partingNone, partingWritten: partingNone},
	partingAsked:   {partingAsk: partingAsked, partingBoundary: partingTelling, partingWritten: partingAsked},
	partingTelling: {partingAsk: partingTelling, partingBoundary: partingTelling, partingWritten: partingTold},
	partingTold:    {partingAsk: partingTold, partingBoundary: partingTold, partingWritten: partingTold},
}

func (p parting) after(e partingEvent) parting { return partingAfter[p][e] }
