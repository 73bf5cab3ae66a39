package fleet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

// inMemory returns what opens one store in memory for all proxies of a test.
func inMemory() func(*testing.T) fleet.Store {
	m := fleettest.NewMemory()
	return func(*testing.T) fleet.Store { return m }
}

func TestStoreInMemoryKeepsWhatStoresPromise(t *testing.T) { fleettest.Conform(t, inMemory()) }

func TestEveryOperationIsDoneByAllProxies(t *testing.T) {
	for _, size := range []int{3, 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { fleettest.EveryOperation(t, size, fleettest.InProcess, inMemory()) })
	}
}

func TestOfRivalsExactlyOneWins(t *testing.T) { fleettest.Rivals(t, fleettest.InProcess, inMemory()) }

func TestProxyThatWasCutOffIsNamedAndCatchesUp(t *testing.T) {
	fleettest.Absence(t, fleettest.InProcess, inMemory())
}

func TestLostAnswerOfADecisionIsLookedUp(t *testing.T) {
	fleettest.LostAnswer(t, fleettest.InProcess, inMemory())
}

func TestRefusalByOneProxyChangesNothing(t *testing.T) {
	m := fleettest.NewMemory()
	nodes := fleettest.StartAll(t, 3, fleettest.InProcess, func(*testing.T) fleet.Store { return m })
	a := fleettest.App(t)
	if _, err := nodes[0].Deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	nodes[2].Engine.Shutdown(t.Context()) // so that it refuses
	_, err := nodes[0].Deploy(t, "web", fleettest.App(t))
	if err == nil || !strings.Contains(err.Error(), "proxy-3 says") {
		t.Fatal(err)
	}
	fleettest.Converged(t, nodes, "web", "v1 "+a+" false")
	s, err := m.Look(t.Context())
	if d, _ := s.Decision("web"); err != nil || len(s.Decisions) != 1 || !strings.Contains(string(d.Document), a) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestStoreThatCannotBeReachedChangesNothing(t *testing.T) {
	nodes := fleettest.StartAll(t, 3, fleettest.InProcess, inMemory())
	a := fleettest.App(t)
	if _, err := nodes[0].Deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.Link.SetCut(true)
	}
	_, err := nodes[0].Deploy(t, "web", fleettest.App(t))
	if api.ErrorCode(err) != api.CodeFleet || !strings.Contains(err.Error(), "cannot be reached") || !strings.Contains(err.Error(), "nothing has changed") {
		t.Fatal(err)
	}
	fleettest.Converged(t, nodes, "web", "v1 "+a+" false")
	for _, n := range nodes {
		n.Link.SetCut(false)
	}
	b := fleettest.App(t)
	fleettest.Await(t, "the fleet decides again", func() bool { _, err := nodes[1].Deploy(t, "web", b); return err == nil })
	fleettest.Converged(t, nodes, "web", nodes[0].Serves("web"))
}

func TestStoreThatHasLostItsDataGetsThemBack(t *testing.T) {
	m := fleettest.NewMemory()
	fleettest.Restored(t, fleettest.InProcess, func(*testing.T) fleet.Store { return m }, m.Lose)
}
