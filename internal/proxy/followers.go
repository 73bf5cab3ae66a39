package proxy

import "github.com/parachute-proxy/parachute/internal/api"

// Followers are processes that serve the services, too, but follow this one: those that it has
// taken over from.
type Followers interface {
	// Apply has them make a service what a document says, or has it go if there is none. It
	// returns when they have, or are given up on.
	Apply(service string, document []byte)
	// Drain waits until they hold nothing of a release that has left, or for 0 of any that has, and returns how
	// it has drained in each of them that held something of it. progress is called now and then with
	// what is left in all of them.
	Drain(service string, release int, progress func(requests, streams int)) []api.Drain
}
