package forward

// roundRobin takes the targets in turn. Their load is the same to it, so that the first
// one is chosen: the one whose turn it is.
var roundRobin = policy{
	first: func(r *Release) uint64 { return r.turn.Add(1) },
	load:  func(*upstream) int64 { return 0 },
}
