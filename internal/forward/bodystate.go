package forward

import (
	"errors"
	"os"
)

// bodyProgress is how far the body of a request has been read.
type bodyProgress int32

const (
	// bodyUnread has all of it to come, so that it can be sent to any target.
	bodyUnread bodyProgress = iota
	// bodyBegun has been read in part, or is being read.
	bodyBegun
	// bodyEnded has been read to its end.
	bodyEnded
)

// bodyEvent is what happens to the body of a request.
type bodyEvent int

const (
	// bodyAsked: a transport, or we, ask for more of it.
	bodyAsked bodyEvent = iota
	// bodyAtEnd: the client has no more to send.
	bodyAtEnd
	// bodyTakenBack: what was read has reached no target, and is there to be read again.
	bodyTakenBack
)

// bodyAfter says what leads where.
var bodyAfter = [...][3]bodyProgress{
	bodyUnread: {bodyAsked: bodyBegun, bodyAtEnd: bodyEnded, bodyTakenBack: bodyUnread},
	bodyBegun:  {bodyAsked: bodyBegun, bodyAtEnd: bodyEnded, bodyTakenBack: bodyUnread},
	bodyEnded:  {bodyAsked: bodyEnded, bodyAtEnd: bodyEnded, bodyTakenBack: bodyUnread},
}

func (p bodyProgress) after(e bodyEvent) bodyProgress { return bodyAfter[p][e] }

// bodyFault is what the client has done wrong with the body of its request.
type bodyFault int32

const (
	// bodySound has no fault so far.
	bodySound bodyFault = iota
	// bodyBroken was malformed or broke off.
	bodyBroken
	// bodyStalled is one that the client stopped sending.
	bodyStalled
	// bodyLarge is larger than it may be.
	bodyLarge
)

// bodyFaultOf returns what a client has done wrong whose body could not be read because of err.
func bodyFaultOf(err error) bodyFault {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return bodyStalled
	case errors.Is(err, ErrLargeBody):
		return bodyLarge
	}
	return bodyBroken
}

// bodyFailure is the fault of a body. Its zero value is that of a sound one.
type bodyFailure struct{ fault state[bodyFault] }

// Load reports whether there is a fault.
func (f *bodyFailure) Load() bool { return f.fault.load() != bodySound }

// stalled reports whether the client stopped sending the body.
func (f *bodyFailure) stalled() bool { return f.fault.load() == bodyStalled }

// large reports whether the body is larger than it may be.
func (f *bodyFailure) large() bool { return f.fault.load() == bodyLarge }

func (f *bodyFailure) note(fault bodyFault) { f.fault.now.Store(int32(fault)) }

// interim is whether the client may be sent informational answers (RFC 9110, section 15.2).
type interim int32

const (
	// interimOpen: what the target says before its answer is passed on.
	interimOpen interim = iota
	// interimAwaited is open, and the client sends its body when it has got 100 Continue.
	interimAwaited
	// interimOver: the answer has begun.
	interimOver
)

// interimEvent is what happens to the time for informational answers.
type interimEvent int

const (
	// interimContinue: the client is told to go on, or will not be.
	interimContinue interimEvent = iota
	// interimAnswer: the answer begins.
	interimAnswer
)

// interimAfter says what leads where.
var interimAfter = [...][2]interim{
	interimOpen:    {interimContinue: interimOpen, interimAnswer: interimOver},
	interimAwaited: {interimContinue: interimOpen, interimAnswer: interimOver},
	interimOver:    {interimContinue: interimOver, interimAnswer: interimOver},
}

func (i interim) after(e interimEvent) interim { return interimAfter[i][e] }
