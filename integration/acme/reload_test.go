package acme

import (
	"syscall"
	"testing"
	"time"
)

// reload has the proxy load its config again and waits until it has.
func (s *server) reload(t *testing.T) {
	t.Helper()
	must(t, s.ReloadConfig(patience))
}

// A reload of the config neither disturbs an order nor a renewal, and takes no
// certificate away.
func TestReloadDoesNotDisturbCertificates(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	early, late, later := newHost(), newHost(), newHost()
	addr := startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", early, "--tls").wantDone(t)

	held := s.holdOrders()
	deployed := make(chan deployment, 1)
	go func() {
		d, err := s.tryDeploy(addr, "--host", late, "--tls")
		if err != nil {
			t.Error(err)
		}
		deployed <- d
	}()
	s.deploy(t, addr, "--host", later, "--tls", "--tls-wait=false").wantDone(t)
	arrive(t, "the first order", held.ordered)
	arrive(t, "the second order", held.ordered)
	for range 2 {
		s.reload(t)
		s.wantBody(t, early, "app", s.ca.roots)
	}
	close(held.goOn)
	arrive(t, "the deploy", deployed).wantDone(t)
	s.wantBody(t, late, "app", s.ca.roots)
	waitFor(t, "the certificate in the background", func() bool {
		_, err := s.handshake(later, nil)
		return err == nil
	})
	for _, host := range []string{early, late, later} {
		s.wantBody(t, host, "app", s.ca.roots)
		old := s.leaf(t, host)
		s.ca.renew(old)
		waitFor(t, "the renewal after the reload", func() bool { return !s.leaf(t, host).Equal(old) })
	}
}

// Authorities limit failures: a host whose certificate could not be obtained is not
// tried again by every reload, but when its pause is over.
func TestReloadDoesNotHurryAFailedOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	unready, addr := newHost(), startApp(t, named("app")).addr()
	s.ca.refuse(func(name string) *problem {
		if name != unready {
			return nil
		}
		return &problem{Type: "urn:ietf:params:acme:error:dns", Detail: "NXDOMAIN", Status: 400}
	})
	s.deploy(t, addr, "--host", unready, "--tls", "--tls-wait=false").wantDone(t)
	waitFor(t, "the order to fail", func() bool {
		c := s.status(t, unready).Certificates
		return len(c) > 0 && c[0].Error != ""
	})
	for range 3 {
		s.reload(t)
		// Hosts are looked after in turn, so that of the other comes after it.
		other := newHost()
		s.deploy(t, addr, "--host", other, "--tls", "--tls-wait=false").wantDone(t)
		waitFor(t, "the certificate of another host", func() bool {
			_, err := s.handshake(other, nil)
			return err == nil
		})
	}
	if n := s.ca.ordersFor(unready); n != 1 {
		t.Errorf("%d orders", n)
	}
	// A deploy may have mended what was wrong.
	s.ca.refuse(nil)
	s.deploy(t, addr, "--host", unready, "--tls", "--tls-wait=false").wantDone(t)
	waitFor(t, "the certificate", func() bool {
		_, err := s.handshake(unready, nil)
		return err == nil
	})
}

// heldOrders are those that the authority does not answer yet.
type heldOrders struct {
	// ordered has a value for each order, until goOn is closed.
	ordered chan struct{}
	goOn    chan struct{}
}

// holdOrders has the authority wait before it answers any order.
func (s *server) holdOrders() heldOrders {
	held := heldOrders{make(chan struct{}, 100), make(chan struct{})}
	s.ca.refuse(func(string) *problem {
		held.ordered <- struct{}{}
		select {
		case <-held.goOn:
		case <-time.After(patience):
		}
		return nil
	})
	return held
}

// A deploy that is interrupted while it waits for its certificate has changed
// nothing, and the next one is not hindered by it.
func TestInterruptedDeployLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	addr := startApp(t, named("app")).addr()
	held := s.holdOrders()
	cmd, err := s.Command("deploy", addr, "--host", host, "--tls")
	must(t, err)
	must(t, cmd.Start())
	arrive(t, "the order", held.ordered)
	must(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("interrupted, it ended with %d", code)
	}
	if all := s.services(t); len(all) > 0 {
		t.Errorf("list says %+v", all)
	}
	close(held.goOn)
	s.deploy(t, addr, "--host", host, "--tls").wantDone(t)
	s.wantBody(t, host, "app", s.ca.roots)
}

// A newer deploy takes over from one that waits for its certificate, and both need
// only one.
func TestNewerDeployTakesOverTheOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	held := s.holdOrders()
	first := make(chan deployment, 1)
	old, next := startApp(t, named("old")).addr(), startApp(t, named("next")).addr()
	go func() {
		d, err := s.tryDeploy(old, "--host", host, "--tls")
		if err != nil {
			t.Error(err)
		}
		first <- d
	}()
	arrive(t, "the order", held.ordered)
	second := make(chan deployment, 1)
	go func() {
		d, err := s.tryDeploy(next, "--host", host, "--tls")
		if err != nil {
			t.Error(err)
		}
		second <- d
	}()
	if d := arrive(t, "the end of the older deploy", first); d.Code != 4 {
		t.Errorf("the older deploy ended with %d\n%s", d.Code, d.Stderr)
	}
	close(held.goOn)
	arrive(t, "the newer deploy", second).wantDone(t)
	s.wantBody(t, host, "next", s.ca.roots)
	if n := s.ca.ordersFor(host); n > 2 {
		t.Errorf("%d orders", n)
	}
}

// Stopping does not wait for an authority that takes its time, be it with an order or
// with the question whether it is time to renew.
func TestStopDoesNotWaitForTheAuthority(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	asked, goOn := make(chan struct{}, 100), make(chan struct{})
	defer close(goOn)
	have, want := newHost(), newHost()
	addr := startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", have, "--tls").wantDone(t)
	s.ca.beforeRenewalInfo(func() {
		asked <- struct{}{}
		<-goOn
	})
	held := s.holdOrders()
	defer close(held.goOn)
	s.deploy(t, addr, "--host", want, "--tls", "--tls-wait=false").wantDone(t)
	arrive(t, "the order", held.ordered)
	arrive(t, "the question", asked)
	began := time.Now()
	if code, err := s.Stop(patience); err != nil || code != 0 {
		t.Errorf("it ended with %d, %v", code, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
