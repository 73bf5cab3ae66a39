package proxy

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestConflictNamesTheOwner(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("shop", testkit.StartApp(t, "shop"))
	req.Hosts, req.PathPrefixes = []string{"shop.example.com"}, []string{"/", "/api"}
	e.deploy(req)
	e.deploy(requestFor("rest", testkit.StartApp(t, "rest")))
	e.deploy(api.DeployRequest{Targets: []string{testkit.StartApp(t, "pair").Target}, Hosts: []string{"*.pair.com", "pair.com"}})
	for _, tt := range []struct {
		service         string
		hosts, prefixes []string
		message, flags  string
	}{
		{
			"thief",
			[]string{"a.example.com", "SHOP.example.com"},
			nil, "the host shop.example.com belongs to the service shop",
			"`service=shop` instead of `service=thief`, and leave out `hosts`",
		},
		{
			"",
			[]string{"shop.example.com"},
			[]string{"/api"},
			"the path /api of the host shop.example.com belongs to the service shop",
			"`service=shop`, and leave out `hosts`",
		},
		{"thief", nil, nil, "every host without a service of its own belongs to the service rest", "`service=rest` instead of `service=thief`, and leave out `hosts`"},
		{
			"",
			[]string{"pair.com"},
			nil, "the host pair.com belongs to the service *.pair.com",
			"`service='*.pair.com'`, and leave out `hosts`",
		},
	} {
		req := api.DeployRequest{Service: tt.service, Targets: []string{testkit.RefusedAddress}, Hosts: tt.hosts, PathPrefixes: tt.prefixes}
		_, err := e.Deploy(req.Patch())
		wantCode(t, err, api.CodeRouteConflict)
		if e, _ := errors.AsType[*api.Error](err); e.Message != tt.message || !strings.Contains(e.Hint, "use "+tt.flags) {
			t.Errorf("message %q, hint %q\nwant %q and %q", e.Message, e.Hint, tt.message, tt.flags)
		}
	}
	// Another path of the same host is nobody's.
	req = requestFor("blog", testkit.StartApp(t, "blog"))
	req.Hosts, req.PathPrefixes = []string{"shop.example.com"}, []string{"/blog"}
	e.deploy(req)
	e.wantAnswer("shop.example.com", "/blog/x", "blog")
	e.wantAnswer("shop.example.com", "/blogs", "shop")
}

// TestRoutesOfADeploymentUnderWayAreTaken keeps two deployments from both
// believing that they will have a route.
func TestRoutesOfADeploymentUnderWayAreTaken(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	sick := testkit.StartApp(t, "sick")
	sick.Health.Store(http.StatusServiceUnavailable)
	d := e.start(requestFor("first", sick))
	_, err := e.Deploy(requestFor("second", sick).Patch())
	wantCode(t, err, api.CodeRouteConflict)
	d.Cancel()
	_, _ = wait(t, d)
	e.deploy(requestFor("second", testkit.StartApp(t, "second")))
}

func TestRoutesThatAReleaseGivesUpAreFree(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("a", testkit.StartApp(t, "a"))
	req.Hosts = []string{"one.example.com", "two.example.com"}
	e.deploy(req)
	req.Hosts = []string{"one.example.com"}
	status := e.deploy(req)
	if want := []string{"host: one.example.com,two.example.com -> one.example.com"}; !slices.Equal(status.Changes, want) {
		t.Errorf("changes %q, want %q", status.Changes, want)
	}
	if code, _ := e.get("two.example.com", "/"); code != http.StatusNotFound {
		t.Errorf("a host that was given up answers %d, want 404", code)
	}
	other := requestFor("b", testkit.StartApp(t, "b"))
	other.Hosts = []string{"two.example.com"}
	e.deploy(other)
	e.wantAnswer("two.example.com", "/", "b")
}
