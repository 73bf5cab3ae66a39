package forward

import "math/rand/v2"

// leastConn prefers the target with the fewest requests in flight, streams included, and
// those of older releases that have the target: it is one instance that works on all. The
// search begins anywhere, so that of equals a random one is chosen.
var leastConn = policy{
	first: func(*Release) uint64 { return rand.Uint64() },
	load:  func(u *upstream) int64 { return u.inFlight.Load() },
}
