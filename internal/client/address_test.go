package client

import (
	"fmt"
	"testing"
)

func TestAdminAddressesAreUnderstoodAsOthersWriteThem(t *testing.T) {
	for text, want := range map[string]string{
		"unix//run/x.sock":       "unix//run/x.sock unix//run/x.sock|0600",
		"unix//run/x.sock|0660":  "unix//run/x.sock unix//run/x.sock|0660",
		"unix:///run/x.sock":     "unix//run/x.sock unix//run/x.sock|0600",
		"unix:/run/x.sock":       "unix//run/x.sock unix//run/x.sock|0600",
		"/run/x.sock":            "unix//run/x.sock unix//run/x.sock|0600",
		"/run//y/../x.sock|0200": "unix//run/x.sock unix//run/x.sock|0200",
		"localhost:2019":         "localhost:2019 localhost:2019",
		"http://localhost:2019/": "localhost:2019 localhost:2019",
		"[::1]:2019":             "[::1]:2019 [::1]:2019",
		":2019":                  ":2019 :2019",
	} {
		a, err := ParseAdminAddress(text)
		if got := fmt.Sprint(a, " ", a.Listen()); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "nonsense", "localhost", "unix/x.sock", "unix:x.sock", "unix://", "unix//", "/", "x.sock", "/x.sock|rw", "/x.sock|", "/x.sock|1777",
		"/x.sock|0600|0600", "https://localhost:2019", "localhost:2019/parachute", "localhost:",
	} {
		if a, err := ParseAdminAddress(text); err == nil {
			t.Errorf("%q is %s", text, a)
		}
	}
}

// A proxy that was started in a login session is found by commands that are not in one,
// and the other way round.
func TestSocketIsFoundFromEveryEnvironment(t *testing.T) {
	login := user{1000, "/run/user/1000", "/tmp", "/run/user/1000"}
	cron := user{1000, "", "/tmp", "/run/user/1000"}
	other := user{1000, "/srv/run", "/srv/tmp", "/run/user/1000"}
	for _, c := range []struct {
		u      user
		listen string
		search string
	}{
		{login, "/run/user/1000/parachute", "[/run/user/1000/parachute /tmp/parachute-1000]"},
		{cron, "/tmp/parachute-1000", "[/tmp/parachute-1000 /run/user/1000/parachute]"},
		{other, "/srv/run/parachute", "[/srv/run/parachute /run/user/1000/parachute /srv/tmp/parachute-1000]"},
		{user{0, "/run/user/0", "/tmp", "/run/user/0"}, "/run/parachute", "[/run/parachute]"},
	} {
		if got := c.u.listenDir(); got != c.listen {
			t.Errorf("%+v listens in %s", c.u, got)
		}
		if got := fmt.Sprint(c.u.searchDirs()); got != c.search {
			t.Errorf("%+v looks in %s", c.u, got)
		}
	}
}
