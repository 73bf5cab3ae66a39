package api

import "testing"

// What is left of a service keeps the canonical host that it can keep.
func TestTheRestOfAServiceKeepsItsCanonicalHost(t *testing.T) {
	for name, c := range map[string]struct {
		req   DeployRequest
		taken []Route
		want  string
	}{
		"for any host": {
			DeployRequest{PathPrefixes: []string{"/x", "/y"}, CanonicalHost: "www.test"}, []Route{{Prefix: "/x"}}, "www.test",
		},
		"which it keeps": {
			DeployRequest{Hosts: []string{"a.test", "b.test"}, CanonicalHost: "b.test"}, []Route{{Host: "a.test", Prefix: "/"}}, "b.test",
		},
		"which it loses": {
			DeployRequest{Hosts: []string{"a.test", "b.test"}, CanonicalHost: "b.test"}, []Route{{Host: "b.test", Prefix: "/"}}, "",
		},
	} {
		c.req.Service, c.req.Targets = "app", []string{"web:1"}
		s, err := c.req.Resolve()
		if err != nil {
			t.Fatal(err)
		}
		left, err := s.Without(c.taken)
		if err != nil || len(left.Routes) != 1 || left.Options.CanonicalHost != c.want {
			t.Errorf("%s: %+v, %v, want %q", name, left, err, c.want)
		}
	}
}
