package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestListShowsOnlyWhatIsAskedFor(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Hosts: []string{"a.test"}})
	deploy(t, p, api.DeployRequest{Targets: []string{b.addr()}, Service: "shop", Hosts: []string{"b.test", "xn--bcher-kva.test"}})
	for _, c := range []struct {
		args, names string
	}{
		{"list", "a.test shop"},
		{"list shop", "shop"},
		{"list shop a.test shop", "shop a.test"},
		{"list A.test.", "a.test"},
		{"list --filter shop", "shop"},
		{"list --filter B.TEST", "shop"},
		{"list --filter " + a.addr(), "a.test"},
		{"list --filter nothing", ""},
		{"list --filter test --wide", "a.test shop"},
	} {
		r := run(t, p, append(strings.Fields(c.args), "-o", "json")...)
		var list api.ServiceList
		if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil || r.Code != 0 {
			t.Errorf("%s: %d %v %s%s", c.args, r.Code, err, r.Stdout, r.Stderr)
		}
		var names []string
		for _, s := range list.Services {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != c.names {
			t.Errorf("%s lists %q, want %q", c.args, got, c.names)
		}
		r = run(t, p, strings.Fields(c.args)...)
		if rows := strings.Count(r.Stdout, " v1 "); r.Code != 0 || rows != len(names) {
			t.Errorf("%s: %d rows: %s%s", c.args, rows, r.Stdout, r.Stderr)
		}
	}
	if r := run(t, p, "list", "shop", "nothing"); r.Code != 5 || r.Stdout != "" || !strings.Contains(r.Stderr, "there is no service nothing") {
		t.Errorf("a service that is not there: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := run(t, p, "list", "--watch", "-q"); r.Code != 2 {
		t.Errorf("--watch -q: %d %s", r.Code, r.Stderr)
	}
}

// A name is normalised as the deploy has normalised the host.
func TestServicesAreNamedAsTheyWereDeployed(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	for _, host := range []string{"APP.test.", "Bücher.test", "*.Wild.test"} {
		if r := run(t, p, "deploy", a.addr(), "--host", host); r.Code != 0 {
			t.Fatal(r.Stderr)
		}
		for _, command := range []string{"status", "list", "remove"} {
			if r := run(t, p, command, host); r.Code != 0 {
				t.Errorf("%s %s: %d %s", command, host, r.Code, r.Stderr)
			}
		}
	}
	// A name of one's own is what it is.
	for _, name := range []string{"Shop", "shop"} {
		deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: name, Hosts: []string{name + "-host.test", name + "2.test"}, PathPrefixes: []string{"/" + name}})
	}
	if r := run(t, p, "remove", "Shop"); r.Code != 0 || r.Stdout != "Shop is removed\n" {
		t.Errorf("%d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	// Not a way to another call of the API.
	for _, name := range []string{"..", ".", "", "shop/deployments", "?"} {
		if r := run(t, p, "remove", name); r.Code != 2 || !strings.Contains(r.Stderr, "is not a valid service name") {
			t.Errorf("remove %q: %d %s%s", name, r.Code, r.Stdout, r.Stderr)
		}
	}
	if s := services(t, p); len(s) != 1 || s[0].Name != "shop" {
		t.Errorf("the services are %+v", s)
	}
}

func TestVersionTellsWhichProxyRuns(t *testing.T) {
	p := newProxy(t)
	r := run(t, p, "version")
	if r.Code != 0 || strings.Count(r.Stdout, "\n") != 1 || !strings.HasPrefix(r.Stdout, "parachute ") {
		t.Errorf("without a proxy: %d %q", r.Code, r.Stdout)
	}
	var v struct {
		Parachute string
		Proxy     *struct{ Parachute, Caddy, Go string }
	}
	must(t, json.Unmarshal([]byte(run(t, p, "version", "-o", "json").Stdout), &v))
	if v.Parachute == "" || v.Proxy != nil {
		t.Errorf("as JSON: %+v", v)
	}
	must(t, p.Start())
	r = run(t, p, "version")
	if lines := strings.Split(r.Stdout, "\n"); r.Code != 0 || lines[1] != "running proxy: "+lines[0] {
		t.Errorf("%d %q", r.Code, r.Stdout)
	}
	must(t, json.Unmarshal([]byte(run(t, p, "version", "-o", "json").Stdout), &v))
	if v.Proxy == nil || v.Proxy.Parachute != v.Parachute || v.Proxy.Go == "" {
		t.Errorf("as JSON: %+v", v)
	}
}

func TestAdminEndpointIsFoundHoweverItIsWritten(t *testing.T) {
	p := startProxy(t)
	socket := strings.TrimPrefix(p.Admin(), "unix/")
	for _, admin := range []string{"unix/" + socket, "unix/" + socket + "|0660", "unix://" + socket, socket} {
		if r := run(t, p, "list", "--admin", admin); r.Code != 0 {
			t.Errorf("%s: %d %s", admin, r.Code, r.Stderr)
		}
	}
}
