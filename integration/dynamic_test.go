package integration

import (
	"context"
	"testing"
)

const dynamicSite = `http:// {
	reverse_proxy {
		dynamic parachute web
	}
}`

// Requests that Caddy's own reverse_proxy sends to a service count on its release
// like all others.
func TestDeployDrainsRequestsOfReverseProxy(t *testing.T) {
	p := startCaddy(t, dynamicSite)
	old, arrived, release := slowApp(t, "old")
	next := startApp(t, "next", nil)
	first, second := to(old), to(next)
	first.Service, second.Service = "web", "web"
	deploy(t, p, first)
	slow := inBackground(t, p.URL()+"/slow")
	arrive(t, "the slow request", arrived)

	deployed := make(chan error, 1)
	go func() {
		_, err := p.Deploy(context.Background(), second)
		deployed <- err
	}()
	expectDrain(t, p, deployed)
	if _, body := get(t, p, "", "/"); body != "next" {
		t.Errorf("after the switch %q answered", body)
	}
	close(release)
	if got := arrive(t, "the slow answer", slow); got != "200 old <nil>" {
		t.Errorf("the slow request got %q", got)
	}
	must(t, arrive(t, "the end of the deploy", deployed))
}

func TestDeploysLoseNoRequestOfReverseProxy(t *testing.T) {
	p := startCaddy(t, dynamicSite)
	apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
	deployTo := func(i int) {
		t.Helper()
		req := to(apps[i%2])
		req.Service = "web"
		deploy(t, p, req)
	}
	deployTo(0)
	load := startLoad(t, p.URL(), 8, false)
	deploys := 0
	for ; deploys < 10 || load.requests.Load() < 200; deploys++ {
		deployTo(deploys + 1)
	}
	outcome := load.end()
	t.Logf("%d deploys: %s", deploys, outcome)
	if load.failed.Load() > 0 {
		t.Error("deploys lose requests")
	}
}
