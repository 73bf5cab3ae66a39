package proxy

import (
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestDeployReturnsOnlyWhenTheOldReleaseIsIdle(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	e.deploy(requestFor("app", old))
	answer := make(chan string, 1)
	go func() {
		_, body := e.get("h", "/slow")
		answer <- body
	}()
	testkit.Receive(t, old.Arrived, "the slow request")

	d := e.start(requestFor("app", testkit.StartApp(t, "new")))
	// The second of these events comes a second after the first.
	if ev := await(t, d, api.EventDraining, 2); ev.Requests != 1 || ev.Release != 1 {
		t.Errorf("event %+v, want one request of v1", ev)
	}
	if state := d.Status().State; state != api.StateDraining {
		t.Errorf("the deployment is %s while a request is in flight, want draining", state)
	}
	e.wantAnswer("h", "/", "new") // nobody else waits
	if s, err := e.Service("app"); err != nil || len(s.Draining) != 1 || s.Draining[0].Requests != 1 || s.Active.Release != 2 {
		t.Errorf("service %+v, %v, want v1 draining one request", s, err)
	}
	close(old.Finish)
	if got := testkit.Receive(t, answer, "the slow answer"); got != "old" {
		t.Errorf("the slow request is answered with %q", got)
	}
	status, err := wait(t, d)
	if err != nil || len(status.Drained) != 1 || status.Drained[0].Requests != 1 || !status.Drained[0].Clean() {
		t.Errorf("drained %+v, %v, want one request", status.Drained, err)
	}
}

// TestDeployWaitsForOlderDrainsToo lets all targets before the newest be removed
// when a deploy returns.
func TestDeployWaitsForOlderDrainsToo(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	first := testkit.StartApp(t, "first")
	e.deploy(requestFor("app", first))
	go e.get("h", "/slow")
	testkit.Receive(t, first.Arrived, "the slow request")
	second := e.start(requestFor("app", testkit.StartApp(t, "second")))
	await(t, second, api.EventSwitched, 1)
	third := e.start(requestFor("app", testkit.StartApp(t, "third")))
	await(t, third, api.EventDrained, 1)
	select {
	case <-third.ended:
		t.Error("the third deploy has ended while v1 drains")
	default:
	}
	close(first.Finish)
	for _, d := range []*Deployment{second, third} {
		if _, err := wait(t, d); err != nil {
			t.Error(err)
		}
	}
}

// TestNothingReachesTheOldAddressAfterTheDeploy is about an address that belongs
// to another app as soon as the deploy has returned.
func TestNothingReachesTheOldAddressAfterTheDeploy(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	path := testkit.SocketPath(t)
	old := testkit.NewApp("old").Start(t, testkit.Listen(t, "unix", path))
	req := requestFor("app", old)
	req.Targets = append(req.Targets, testkit.StartApp(t, "sibling").Target) // so that probes are frequent
	e.deploy(req)
	stop := e.hammer(4, "h", "/")
	e.deploy(requestFor("app", testkit.StartApp(t, "new")))
	old.Kill()

	strangers := testkit.Listen(t, "unix", path)
	touched := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := strangers.Accept()
			if err != nil {
				return
			}
			touched <- struct{}{}
			_ = conn.Close()
		}
	}()
	e.deploy(requestFor("app", testkit.StartApp(t, "newer"))) // some time, with probes in it
	stop()
	if n := len(touched); n > 0 {
		t.Errorf("%d connections to the old address after the deploy has returned", n)
	}
}
