package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
	"github.com/parachute-proxy/parachute/internal/testkit"
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

func TestProxyThatIsCutOffDoesNotSayThatNothingIsHeld(t *testing.T) {
	fleettest.StaleResume(t, fleettest.InProcess, inMemory())
}

func TestLeaseOfTheProcessBeforeIsNotAnotherProxys(t *testing.T) {
	fleettest.LateFirstBeat(t, fleettest.InProcess, inMemory())
}

func TestProcessTakesPartInThePlaceOfTheOneBefore(t *testing.T) {
	fleettest.Handover(t, fleettest.InProcess, inMemory())
}

func TestPlanOfAProcessThatHasEndedIsWithdrawn(t *testing.T) {
	fleettest.DeadPredecessor(t, fleettest.InProcess, inMemory())
}

func TestUpgradeDoesNotWaitForASlowProxy(t *testing.T) {
	fleettest.SlowProxy(t, fleettest.InProcess, func(*testing.T) func(*testing.T) fleet.Store { return inMemory() })
}

// Nobody is told to use what a fleet refuses.
func TestFleetSaysHowARouteIsMoved(t *testing.T) {
	nodes := fleettest.StartAll(t, 2, fleettest.InProcess, inMemory())
	if _, err := nodes[0].Deploy(t, "web", fleettest.App(t)); err != nil {
		t.Fatal(err)
	}
	for takeOver, want := range map[bool]struct {
		code api.Code
		hint string
	}{
		false: {api.CodeRouteConflict, "first deploy web with the routes that it keeps, or remove it"},
		true:  {api.CodeInvalid, "leave out `take_over`; to move the route here, first deploy the other service"},
	} {
		_, err := nodes[1].Engine.Deploy(api.DeployRequest{Service: "shop", Targets: []string{fleettest.App(t)}, Hosts: []string{"web.test"}, TakeOver: takeOver}.Patch())
		hint := ""
		if e := api.AsError(err); err != nil {
			hint = e.Hint
		}
		if api.ErrorCode(err) != want.code || !strings.Contains(hint, want.hint) || !takeOver && strings.Contains(hint, "take_over") {
			t.Errorf("take-over %t: %v, %q", takeOver, err, hint)
		}
	}
}

func TestWhatAnyProxyHasToCutIsCounted(t *testing.T) {
	fleettest.Cuts(t, fleettest.InProcess, func(*testing.T) func(*testing.T) fleet.Store { return inMemory() })
}

func TestDeploymentThatIsOvertakenWaitsUntilAllHaveDrained(t *testing.T) {
	fleettest.Overtaken(t, fleettest.InProcess, inMemory())
}

func TestServicesThatAProxyHadBeforeAreImported(t *testing.T) {
	fleettest.Imported(t, fleettest.InProcess, inMemory())
}

func TestServicesThatCannotBeImportedCanBeChanged(t *testing.T) {
	fleettest.ImportedByHand(t, fleettest.InProcess, inMemory())
}

func TestServiceThatWasRemovedIsNotImportedAgain(t *testing.T) {
	fleettest.ImportedOnce(t, fleettest.InProcess, inMemory())
}

func TestServiceWithARouteOfTheFleetIsNotImported(t *testing.T) {
	fleettest.ImportedConflict(t, fleettest.InProcess, inMemory())
}

func TestRollbackDoesNotBringBackWhatWasRemoved(t *testing.T) {
	fleettest.RemovedMeanwhile(t, fleettest.InProcess, inMemory())
}

func TestLostAnswerOfADecisionIsLookedUp(t *testing.T) {
	fleettest.LostAnswer(t, fleettest.InProcess, inMemory())
}

func TestRefusalByOneProxyChangesNothing(t *testing.T) {
	fleettest.Refusals(t, func(*testing.T) func(*testing.T) fleet.Store { return inMemory() })
}

func TestDeadCoordinatorLeavesNothingBehind(t *testing.T) { fleettest.DeadCoordinator(t, inMemory()) }

func TestCoordinatorThatComesTooLateDecidesNothing(t *testing.T) {
	fleettest.LateCoordinator(t, inMemory())
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

func TestFaultAtAnyStepLeavesAllOrNothing(t *testing.T) {
	fleettest.Faults(t, func(*testing.T) func(*testing.T) fleet.Store { return inMemory() })
}

func TestEveryProxyTellsHowManyServeWhatWasDecided(t *testing.T) {
	fleettest.Shares(t, fleettest.InProcess, inMemory())
}

func TestReleaseBeforeIsKeptByAllProxies(t *testing.T) {
	fleettest.Kept(t, fleettest.InProcess, inMemory())
}

func TestCanaryIsTheSameOnAllProxies(t *testing.T) {
	fleettest.Canary(t, fleettest.InProcess, inMemory())
}

func TestStepsOfARolloutAreThoseOfAllProxies(t *testing.T) {
	fleettest.Steps(t, fleettest.InProcess, inMemory())
}

func TestRolloutGoesOnWithoutTheProxyThatDrivesIt(t *testing.T) {
	fleettest.Driver(t, fleettest.InProcess, inMemory())
}

func TestReleaseIsJudgedByWhatAllProxiesCount(t *testing.T) {
	fleettest.Verdict(t, fleettest.InProcess, inMemory())
}

func TestCountsOfARestartedProxyStay(t *testing.T) {
	fleettest.RestartedCounts(t, fleettest.InProcess, inMemory())
}

func TestFailingReleaseLeavesThoseWhoAreThere(t *testing.T) {
	fleettest.MissingVerdict(t, fleettest.InProcess, inMemory())
}

func TestDeployTakesThePlaceOfWhatIsTried(t *testing.T) {
	fleettest.Replaced(t, fleettest.InProcess, inMemory())
}

func TestRolloutGoesOnAfterAllProxiesHaveBeenRestarted(t *testing.T) {
	fleettest.AllRestarted(t, fleettest.InProcess, inMemory())
}

func TestWatchedReleaseDrainsEverywhereBeforeADeployEnds(t *testing.T) {
	fleettest.DrainedEverywhere(t, fleettest.InProcess, inMemory())
}

// lateBeats writes a beat only when whoever asked for that has given up on it, and when a goodbye has been said or is not about to be.
type lateBeats struct {
	fleet.Store
	isLate               atomic.Bool
	begun, left, written chan struct{}
}

func (s *lateBeats) Beat(ctx context.Context, l fleet.Lease) (fleet.Lease, error) {
	if s.isLate.CompareAndSwap(true, false) {
		close(s.begun)
		defer close(s.written)
		<-ctx.Done()
		select {
		case <-s.left:
		case <-time.After(200 * time.Millisecond):
		}
	}
	return s.Store.Beat(context.WithoutCancel(ctx), l)
}

func (s *lateBeats) Leave(ctx context.Context, name string) error {
	defer close(s.left)
	return s.Store.Leave(ctx, name)
}

// A lease that is written late does not bring back a proxy that has said goodbye: the others would miss it.
func TestGoodbyeIsTheLastThatAProxySays(t *testing.T) {
	store := &lateBeats{Store: inMemory()(t), begun: make(chan struct{}), left: make(chan struct{}), written: make(chan struct{})}
	n := fleettest.Start(t, store, "proxy-1", fleettest.InProcess)
	store.isLate.Store(true)
	testkit.Receive(t, store.begun, "a beat")
	if err := n.Agent.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, store.written, "the late beat")
	if leases, err := store.Leases(t.Context()); err != nil || len(leases) > 0 {
		t.Errorf("%+v, %v", leases, err)
	}
}
