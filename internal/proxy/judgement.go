package proxy

// verdict is what becomes of a rollout at a moment. The zero value has it go on.
type verdict int

const (
	// fails is a release that fails more than it may.
	fails verdict = 1 + iota
	// timeOver is a release whose step or watch is over.
	timeOver
)

// judgement is a verdict about a position.
type judgement struct {
	verdict verdict
	// reason says why the release is taken for bad.
	reason string
	// epoch is that of the position.
	epoch int
}

// opinion is what the check of a rollout says of its release.
type opinion int

const (
	goodOpinion opinion = iota
	badOpinion
	// noOpinion is a check that does not know, or does not answer.
	noOpinion
)

// checked is what the check has answered, about a position.
type checked struct {
	opinion opinion
	reason  string
	judgement
}
