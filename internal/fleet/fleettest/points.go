package fleettest

import "github.com/parachute-proxy/parachute/internal/api"

// point is where in a change a fault happens to a proxy.
type point struct {
	name string
	// arm has fault happen when a proxy comes to the point. Its error is what the proxy gets there.
	arm func(n *Node, fault func() error)
	// decided says that the fleet has decided by then, drained that the proxy has said all that it has to say.
	decided, drained bool
}

func before(call Call) func(*Node, func() error) {
	return func(n *Node, fault func() error) { n.Link.Before(call, fault) }
}

func after(call Call) func(*Node, func() error) {
	return func(n *Node, fault func() error) { n.Link.After(call, fault) }
}

// then has a fault happen before the first call of a kind that comes after one of another kind.
func then(first, next Call) func(*Node, func() error) {
	return func(n *Node, fault func() error) {
		n.Link.After(first, func() error { n.Link.Before(next, fault); return nil })
	}
}

func beforeWrite(n *Node, fault func() error) { n.disk.at(false, fault) }
func afterWrite(n *Node, fault func() error)  { n.disk.at(true, fault) }

// coordinatorPoints are those of the proxy that is asked for a change, in their order.
var coordinatorPoints = []point{
	{name: "before it reads who is there", arm: before(CallLeases)},
	{name: "before it proposes", arm: before(CallPropose)},
	{name: "once it has proposed", arm: after(CallPropose)},
	{name: "before it reads who is prepared", arm: then(CallPropose, CallAcks)},
	{name: "before it looks for rivals", arm: then(CallPropose, CallLook)},
	{name: "before it decides", arm: before(CallDecide)},
	{name: "once it has decided", arm: after(CallDecide), decided: true},
	{name: "before it stores", arm: beforeWrite, decided: true},
	{name: "once it has stored", arm: afterWrite, decided: true},
	{name: "before it reads who goes by it", arm: then(CallDecide, CallAcks), decided: true},
	{name: "before it withdraws", arm: before(CallWithdraw), decided: true, drained: true},
	{name: "once it has withdrawn", arm: after(CallWithdraw), decided: true, drained: true},
}

// memberPoints are those of a proxy that follows, in their order.
var memberPoints = []point{
	{name: "before it hears of it", arm: before(CallLook)},
	{name: "before it says that it is prepared", arm: before(Acknowledges(api.FleetPrepared))},
	{name: "once it has said that it is prepared", arm: after(Acknowledges(api.FleetPrepared)), decided: true},
	{name: "before it stores", arm: beforeWrite, decided: true},
	{name: "once it has stored", arm: afterWrite, decided: true},
	{name: "before it says that it goes by it", arm: before(Acknowledges(api.FleetApplied)), decided: true},
	{name: "once it has said that it goes by it", arm: after(Acknowledges(api.FleetApplied)), decided: true},
	{name: "before it says that it has drained", arm: before(Acknowledges(api.FleetDrained)), decided: true},
	{name: "once it has said that it has drained", arm: after(Acknowledges(api.FleetDrained)), decided: true, drained: true},
}
