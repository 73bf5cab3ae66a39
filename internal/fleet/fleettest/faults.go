package fleettest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// faulty is the timing of tests of faults, which wait for leases and for patience to end.
var faulty = Timing{Poll: 50 * time.Millisecond, Lease: 2 * time.Second, Patience: 2 * time.Second, Finish: 6 * time.Second}

// answer is what the client of a change is told.
type answer struct {
	// code is that of the error; empty for success. text is in its message.
	code api.Code
	text string
}

var (
	success = answer{}
	// untouched is what is said of a store that cannot be reached before the decision.
	untouched = answer{api.CodeFleet, "the fleet's store cannot be reached: "}
	// untold is what is said if the store does not answer whether it has decided.
	untold = answer{api.CodeFleetUnknown, "it is not known whether the fleet has decided"}
	// unseen is what is said if the store cannot be reached after the decision.
	unseen = answer{api.CodeFleetIncomplete, "the fleet's store cannot be reached"}
	// unheard is what is said of a proxy that is missing before the decision, and left after it.
	unheard = answer{api.CodeFleet, "proxy-3 has not been heard of"}
	left    = answer{api.CodeFleetIncomplete, "proxy-3: it has not been heard of"}
)

// fault is a row of the table of faults: what happens to which proxy during a deployment.
type fault struct {
	name string
	at   point
	// member has it happen to another proxy than the one that coordinates.
	member bool
	// happen is the fault; all are the proxies, of which n is the one to which it happens.
	happen func(n *Node, all []*Node) error
	// crashes says that the proxy has died.
	crashes bool
	want    answer
}

func crash(n *Node, _ []*Node) error { n.Crash(); return ErrCut }

func cutOff(n *Node, _ []*Node) error { n.Link.SetCut(true); return nil }

func cutAllOff(_ *Node, all []*Node) error {
	for _, n := range all {
		n.Link.SetCut(true)
	}
	return nil
}

func fillDisk(n *Node, _ []*Node) error { n.disk.setFull(true); return errDisk }

// Faults tests that whatever happens at any step of a deployment, the fleet does all of it or nothing, says what
// it knows, and goes on once the fault is over. open is as for [Conform], for all proxies of one fleet.
func Faults(t *testing.T, open func(t *testing.T) func(*testing.T) fleet.Store) {
	var rows []fault
	for _, p := range coordinatorPoints {
		want := untouched
		switch {
		case p.drained:
			want = success
		case strings.Contains(p.name, "decide") && (p.name == "before it decides" || p.decided):
			want = untold
		case p.decided:
			want = unseen
		}
		rows = append(rows,
			fault{name: "the coordinator dies", at: p, happen: crash, crashes: true},
			fault{name: "the coordinator is cut off", at: p, happen: cutOff, want: want},
			fault{name: "all are cut off", at: p, happen: cutAllOff, want: want},
		)
	}
	for _, p := range memberPoints {
		want := unheard
		switch {
		case p.drained:
			want = success
		case p.decided:
			want = left
		}
		rows = append(rows,
			fault{name: "a proxy dies", at: p, member: true, happen: crash, crashes: true, want: want},
			fault{name: "a proxy is cut off", at: p, member: true, happen: cutOff, want: want},
		)
	}
	rows = append(rows,
		fault{
			name: "the disk of the coordinator is full", at: point{name: "before it stores", arm: beforeWrite, decided: true}, happen: fillDisk,
			want: answer{api.CodeFleetIncomplete, "this one does not yet: "},
		},
		fault{
			name: "the disk of a proxy is full", at: point{name: "before it stores", arm: beforeWrite, decided: true}, member: true, happen: fillDisk,
			want: answer{api.CodeFleetIncomplete, "proxy-3: "},
		},
	)
	places := make(chan struct{}, 12) // a row waits more than it computes
	var all sync.WaitGroup
	for _, row := range rows {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			t.Run(row.name+"/"+row.at.name, func(t *testing.T) { row.test(t, open(t)) })
		})
	}
	all.Wait()
}

// DeadCoordinator tests that the others give up what they have ready for a deployment whose coordinator has
// died, also if nobody deploys and the coordinator does not come back, and that one which is decided is done.
func DeadCoordinator(t *testing.T, open func(*testing.T) fleet.Store) {
	nodes := StartAll(t, 3, faulty, open)
	app := App(t)
	if _, err := nodes[1].deploySecure(t, app, "web.test"); err != nil {
		t.Fatal(err)
	}
	nodes[0].Link.Before(CallDecide, func() error { return crash(nodes[0], nodes) })
	_, _ = nodes[0].deploySecure(t, App(t), "new.test") // which nobody is told of
	outcome{"v1 " + app + " false", "web.test", 1}.await(t, nodes[1:])

	if err := nodes[1].Agent.Forget(t.Context(), nodes[0].Name); err != nil {
		t.Fatal(err)
	}
	next := App(t)
	nodes[1].Link.After(CallDecide, func() error { return crash(nodes[1], nodes) })
	_, _ = nodes[1].deploySecure(t, next, "new.test")
	Await(t, "nobody acknowledges what nobody waits for", func() bool {
		s, err := nodes[2].Link.Store.Look(t.Context())
		_, isThere := s.Plan("web")
		return err == nil && !isThere
	})
	outcome{"v2 " + next + " false", "new.test", 2}.await(t, nodes[2:])
}

// LateCoordinator tests that nothing is decided for which the others have given up what they had ready, as by a
// proxy that was paused.
func LateCoordinator(t *testing.T, open func(*testing.T) fleet.Store) {
	timing := faulty
	timing.Patience = 300 * time.Millisecond // which is added to the time of a plan
	nodes := StartAll(t, 3, timing, open)
	app := App(t)
	if _, err := nodes[1].deploySecure(t, app, "web.test"); err != nil {
		t.Fatal(err)
	}
	p, err := nodes[0].Engine.FleetProposal("web")
	if err != nil {
		t.Fatal(err)
	}
	p.Deployment, p.Timeout = "late", time.Second
	ballot, err := nodes[0].Agent.Propose(t.Context(), *p, func(api.FleetStep) {})
	if err != nil {
		t.Fatal(err)
	}
	defer ballot.Close()
	Await(t, "the others have given it up", func() bool {
		s, err := nodes[1].Link.Store.Look(t.Context())
		_, isThere := s.Plan("web")
		return err == nil && !isThere
	})
	if _, err := ballot.Decide(); api.ErrorCode(err) != api.CodeFleet || !strings.Contains(err.Error(), "the other proxies have given up this change of web") {
		t.Errorf("%v", err)
	}
}

// test has a row's fault happen during a second deployment of a service, which adds a host.
func (f fault) test(t *testing.T, open func(*testing.T) fleet.Store) {
	nodes := StartAll(t, 3, faulty, open)
	old, next := App(t), App(t)
	if _, err := nodes[1].deploySecure(t, old, "web.test"); err != nil {
		t.Fatal(err)
	}
	coordinator, hit := nodes[0], 0
	if f.member {
		hit = 2
	}
	f.at.arm(nodes[hit], func() error { return f.happen(nodes[hit], nodes) })
	_, err := coordinator.deploySecure(t, next, "web.test", "new.test")
	if f.crashes && !f.member {
		// Nobody is told anything by a process that is dead.
	} else if got := api.ErrorCode(err); err == nil && f.want != success || err != nil && (got != f.want.code || !strings.Contains(err.Error(), f.want.text)) {
		t.Errorf("it is answered %q %v, want %+v", got, err, f.want)
	}
	if !f.at.decided && api.ErrorCode(err) == api.CodeFleet && !strings.Contains(err.Error(), "; nothing has changed") {
		t.Errorf("it is not said that nothing has changed: %v", err)
	}
	want := outcome{"v1 " + old + " false", "web.test", 1}
	if f.at.decided {
		want = outcome{"v2 " + next + " false", "new.test web.test", 2}
	}

	for i, n := range nodes {
		if f.crashes && i == hit {
			nodes[i] = n.Restart(t, open(t), faulty)
			continue
		}
		n.Link.Mend()
		n.disk.setFull(false)
	}
	want.await(t, nodes)
	// Who did not get the host left it to others.
	_, err = nodes[1].DeployHost(t, "other", old, "new.test")
	if (err == nil) == f.at.decided || err != nil && api.ErrorCode(err) != api.CodeRouteConflict {
		t.Errorf("the host of the deployment is given to another service: %v", err)
	}
	last := App(t)
	for _, n := range []*Node{nodes[2], nodes[0]} {
		want.release++
		if _, err := n.deploySecure(t, last, "last.test"); err != nil {
			t.Fatalf("the next deployment: %v", err)
		}
	}
	outcome{fmt.Sprintf("v%d %s false", want.release, last), "last.test", want.release}.await(t, nodes)
}

// outcome is what every proxy has of the service web.
type outcome struct {
	serves, certificates string
	release              int
}

// await waits until all proxies have caught up, and have nothing but the outcome.
func (o outcome) await(t *testing.T, nodes []*Node) {
	t.Helper()
	for _, n := range nodes {
		var got outcome
		got.release = o.release
		settled := func() bool {
			got.serves, got.certificates = n.Serves("web"), n.certificates.looksAfter()
			return got == o && n.Agent.Ready() && n.Agent.Status().Problem == ""
		}
		if !within(settled) {
			t.Fatalf("%s does not catch up: it has %+v, want %+v; %q", n.Name, got, o, n.Agent.Status().Problem)
		}
	}
	var state fleet.State
	Await(t, "the store answers", func() (ok bool) {
		var err error
		state, err = nodes[0].Link.Store.Look(t.Context())
		return err == nil
	})
	d, _ := state.Decision("web")
	for _, n := range nodes {
		if stored := n.disk.document("web"); !bytes.Equal(stored, d.Document) {
			t.Errorf("%s has stored\n%s\nand the fleet has decided\n%s", n.Name, stored, d.Document)
		}
	}
}

// deploySecure deploys a target to the service web, with certificates for hosts.
func (n *Node) deploySecure(t *testing.T, target string, hosts ...string) (api.DeploymentStatus, error) {
	t.Helper()
	return n.deploy(t, api.DeployRequest{Service: "web", Targets: []string{target}, Hosts: hosts, TLS: &api.TLSRequest{}})
}
