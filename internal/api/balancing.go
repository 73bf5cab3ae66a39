package api

// LoadBalancing is how the requests of a release are spread over its targets.
type LoadBalancing string

const (
	// LeastConn prefers the target with the fewest requests in flight, streams
	// included, and a random one of several. It is the default.
	LeastConn LoadBalancing = "least_conn"
	// RoundRobin takes the targets in turn.
	RoundRobin LoadBalancing = "round_robin"
)

// LoadBalancings are all that there are. Package forward has a file for each.
func LoadBalancings() []LoadBalancing { return []LoadBalancing{LeastConn, RoundRobin} }
