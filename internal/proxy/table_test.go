package proxy

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// claimFor returns the claim of a service on every pair of hosts and prefixes.
func claimFor(service string, hosts, prefixes []string) *claim {
	return newClaim(&lineup{active: &release{Spec: &api.Spec{Service: service, Routes: api.RoutesOf(hosts, prefixes)}}})
}

// serviceOf returns the name of the service that t has for host and path.
func serviceOf(t *table, host, path string) string {
	if c, _ := t.lookup(host, path); c != nil {
		return c.service
	}
	return ""
}

func TestMostSpecificRouteWins(t *testing.T) {
	table := newTable([]*claim{
		claimFor("default", nil, nil),
		claimFor("default-api", nil, []string{"/api"}),
		claimFor("wild", []string{"*.example.com"}, nil),
		claimFor("wild-api", []string{"*.example.com"}, []string{"/api"}),
		claimFor("app", []string{"app.example.com"}, nil),
		claimFor("app-api", []string{"app.example.com"}, []string{"/api", "/api/v2/beta"}),
		claimFor("app-api-v2", []string{"app.example.com"}, []string{"/api/v2"}),
		claimFor("only-api", []string{"api.example.com"}, []string{"/api"}),
		claimFor("ip", []string{"::1", "127.0.0.1"}, nil),
		claimFor("idn", []string{"xn--bcher-kva.de"}, nil),
		claimFor("deep", []string{"*.b.example.com"}, nil),
	})
	for _, tt := range []struct{ host, path, want string }{
		{"app.example.com", "/", "app"},
		{"APP.Example.com", "/", "app"},
		{"app.example.com.", "/", "app"},
		{"APP.Example.com.:80", "/", "app"},
		{"app.example.com:8443", "/", "app"},
		{"app.example.com:", "/", "app"},

		{"app.example.com", "/api", "app-api"},
		{"app.example.com", "/api/", "app-api"},
		{"app.example.com", "/api/x", "app-api"},
		{"app.example.com", "/api2", "app"},
		{"app.example.com", "/API", "app"},
		{"app.example.com", "/x/api", "app"},
		{"app.example.com", "//api", "app"},
		{"app.example.com", "/api/v2", "app-api-v2"},
		{"app.example.com", "/api/v2/x/y/z", "app-api-v2"},
		{"app.example.com", "/api/v21", "app-api"},
		{"app.example.com", "/api/v2/beta/x", "app-api"},
		{"app.example.com", "/api/v2/beta2", "app-api-v2"},
		{"app.example.com", "", "app"},
		{"app.example.com", "*", "app"},

		{"x.example.com", "/", "wild"},
		{"x.example.com", "/api/x", "wild-api"},
		{"a.b.example.com", "/", "deep"},
		{"b.example.com", "/", "wild"},
		{"a.x.example.com", "/", "default"},
		{"example.com", "/", "default"},
		{".example.com", "/", "default"},
		{"*.example.com", "/", "wild"}, // the star is a label like any other
		{"xexample.com", "/", "default"},

		// A host without a prefix for the path leaves it to the next less specific.
		{"api.example.com", "/api/x", "only-api"},
		{"api.example.com", "/", "wild"},

		{"[::1]", "/", "ip"},
		{"[::1]:80", "/", "ip"},
		{"127.0.0.1:80", "/", "ip"},
		{"xn--bcher-kva.de", "/", "idn"},
		{"XN--BCHER-KVA.DE:443", "/", "idn"},

		{"other.org", "/", "default"},
		{"other.org", "/api", "default-api"},
		{"", "/", "default"},
		{strings.Repeat("a", 300), "/", "default"},
		{"[::1", "/", "default"},
		{"app.example.com:80:80", "/", "default"},
	} {
		if got := serviceOf(table, tt.host, tt.path); got != tt.want {
			t.Errorf("%q %q is served by %q, want %q", tt.host, tt.path, got, tt.want)
		}
	}
}

func TestNothingIsServedThatNobodyClaims(t *testing.T) {
	for name, table := range map[string]*table{
		"empty table": newTable(nil),
		"one host":    newTable([]*claim{claimFor("a", []string{"a.example.com"}, []string{"/api"})}),
	} {
		for _, host := range []string{"b.example.com", "", "example.com", "a.example.com"} {
			if got := serviceOf(table, host, "/"); got != "" {
				t.Errorf("%s: %q is served by %q", name, host, got)
			}
		}
	}
}

// naiveLookup is what lookup has to return, found by looking at everything.
func naiveLookup(claims []*claim, host, path string) (service, prefix string) {
	host = naiveHost(host)
	best := -1
	for _, c := range claims {
		for _, r := range c.routes {
			rank := 0
			switch _, domain, _ := strings.Cut(host, "."); {
			case r.Host == "":
			case r.Host == host && !strings.HasPrefix(host, "*."):
				rank = 2
			case strings.HasPrefix(r.Host, "*.") && r.Host[2:] == domain && !strings.HasPrefix(host, "."):
				rank = 1
			default:
				continue
			}
			if r.Prefix != "/" && r.Prefix != path && !strings.HasPrefix(path, r.Prefix+"/") {
				continue
			}
			if score := rank*1000 + len(r.Prefix); score > best {
				best, service, prefix = score, c.service, r.Prefix
			}
		}
	}
	return service, prefix
}

func naiveHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

func compareWithNaive(t *testing.T, table *table, claims []*claim, host, path string) {
	t.Helper()
	c, prefix := table.lookup(host, path)
	got := ""
	if c != nil {
		got = c.service
	}
	if want, wantPrefix := naiveLookup(claims, host, path); got != want || prefix != wantPrefix {
		var routes []string
		for _, c := range claims {
			routes = append(routes, fmt.Sprint(c.service, c.routes))
		}
		t.Fatalf("%q %q is served by %q at %q, want %q at %q\n%s", host, path, got, prefix, want, wantPrefix, strings.Join(routes, "\n"))
	}
}

// TestLookupAgreesWithNaiveSearch compares the router with a search through all
// claims, over random tables that are built at once and by edits.
func TestLookupAgreesWithNaiveSearch(t *testing.T) {
	rnd := testkit.NewRand(t)
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	label := func() string { return pick("a", "b", "c", "ab", "xn--a") }
	name := func() string {
		name := label()
		for range rnd.IntN(3) {
			name += "." + label()
		}
		return name
	}
	path := func(most int, segments ...string) (path string) {
		for range rnd.IntN(most + 1) {
			path += "/" + pick(segments...)
		}
		return path
	}
	route := func() api.Route {
		r := api.Route{Prefix: cmp.Or(path(3, "a", "b", "ab"), "/")}
		switch rnd.IntN(5) {
		case 0: // every host
		case 1:
			r.Host = "*." + name()
		default:
			r.Host = name()
		}
		return r
	}
	spell := func(host string) string {
		if rnd.IntN(3) == 0 {
			host = strings.ToUpper(host)
		}
		return host + pick("", "", ".") + pick("", "", ":80", ":")
	}
	for range 200 {
		claims := randomClaims(rnd, route)
		edited := newTable(nil)
		for _, c := range claims {
			edited = edited.with(c)
		}
		stages := []stage{{newTable(claims), claims}, {edited, claims}}
		for left := claims; len(left) > 0; {
			edited, left = edited.without(left[0]), left[1:]
			stages = append(stages, stage{edited, left})
		}
		for _, s := range stages {
			for range 30 {
				host := ""
				if rnd.IntN(10) > 0 {
					host = spell(name())
				}
				compareWithNaive(t, s.table, s.claims, host, path(5, "a", "b", "ab", "a%2Fb")+pick("", "", "/"))
			}
		}
		if edited.anyHost != nil || len(edited.exact)+len(edited.wildcard)+len(edited.named) > 0 {
			t.Fatalf("all services have left, but the table has %+v", edited)
		}
	}
}

// stage is a table and the claims that are in it.
type stage struct {
	table  *table
	claims []*claim
}

// randomClaims returns a few services with a few routes each.
func randomClaims(rnd *rand.Rand, route func() api.Route) []*claim {
	var claims []*claim
	taken := make(map[api.Route]bool)
	for i := range 1 + rnd.IntN(12) {
		c := &claim{service: fmt.Sprint("s", i)}
		for range 1 + rnd.IntN(4) {
			if r := route(); !taken[r] {
				taken[r] = true
				c.routes = append(c.routes, r)
			}
		}
		if len(c.routes) > 0 {
			claims = append(claims, c)
		}
	}
	return claims
}

func TestEditsLeaveOlderTablesAlone(t *testing.T) {
	a := claimFor("a", []string{"h"}, []string{"/", "/a"})
	b := claimFor("b", []string{"h"}, []string{"/b"})
	first := newTable([]*claim{a})
	second := first.with(b)
	third := second.without(a)
	for i, tt := range []struct {
		table   *table
		root, b string
		named   int
	}{{first, "a", "a", 1}, {second, "a", "b", 2}, {third, "", "b", 1}} {
		if got := serviceOf(tt.table, "h", "/"); got != tt.root {
			t.Errorf("table %d: / is served by %q, want %q", i+1, got, tt.root)
		}
		if got := serviceOf(tt.table, "h", "/b"); got != tt.b {
			t.Errorf("table %d: /b is served by %q, want %q", i+1, got, tt.b)
		}
		if len(tt.table.named) != tt.named {
			t.Errorf("table %d names %d services, want %d", i+1, len(tt.table.named), tt.named)
		}
	}
}

// TestLeavingDoesNotTakeTheRoutesOfOthers covers a claim that is taken out after
// another one has got its route.
func TestLeavingDoesNotTakeTheRoutesOfOthers(t *testing.T) {
	old, next := claimFor("old", []string{"h"}, nil), claimFor("next", []string{"h"}, nil)
	if got := serviceOf(newTable([]*claim{old}).with(next).without(old), "h", "/"); got != "next" {
		t.Errorf("h is served by %q, want next", got)
	}
}

func TestRoutesAreFoundByTheCleanPath(t *testing.T) {
	table := newTable([]*claim{claimFor("root", nil, nil), claimFor("api", nil, []string{"/api", "/a/b"}), claimFor("me", nil, []string{"/@me"})})
	for path, want := range map[string]string{
		"/api/x":     "api",
		"/api%2Fx":   "root",
		"/api%2fx":   "root",
		"/api/x%2Fy": "api",
		"/%61pi/x":   "api",
		"/a%2Fb":     "root",
		"/a%2F/b":    "root",
		"/a/b":       "api",
		"/a/%62%2Fc": "root",
		"/%40me":     "me",
		"/@me%2F":    "root",
		"/api%252Fx": "root",
		"/api%20":    "root",

		"//api":              "api",
		"/x/../api/y":        "api",
		"/api/../x":          "root",
		"/api/%2e%2e/x":      "root",
		"/api/..%2fx":        "api",
		"/a%2Fb/../a//b/..":  "root",
		"/a%2Fb/../a//./b/":  "api",
		"/a/%2e%2e%2f/../b":  "api",
		"/api/%252e%252e/..": "api",
		"/..":                "root",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := serviceOf(table, "h", matchPath(u)); got != want {
			t.Errorf("%s is served by %q, want %q", path, got, want)
		}
	}
}

// BenchmarkMatchPath measures what every request pays for the match by its clean path.
func BenchmarkMatchPath(b *testing.B) {
	for name, raw := range map[string]string{"clean": "/api/v1/users/12345/orders", "encoded": "/api/a%2Fb/12345", "unclean": "/api/../v1//users"} {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				matchPath(u)
			}
		})
	}
}

// bigTable returns a table of n services with a host each, a tenth of them
// wildcards, and one host with n prefixes.
func bigTable(n int) *table {
	var claims []*claim
	for i := range n {
		claims = append(claims, claimFor(fmt.Sprint("host-", i), []string{fmt.Sprintf("app-%d.example.com", i)}, nil))
		claims = append(claims, claimFor(fmt.Sprint("path-", i), []string{"paths.example.com"}, []string{fmt.Sprintf("/tenants/tenant-%d", i)}))
		if i%10 == 0 {
			claims = append(claims, claimFor(fmt.Sprint("wild-", i), []string{fmt.Sprintf("*.org-%d.example.com", i)}, nil))
		}
	}
	return newTable(claims)
}

var lookups = []struct{ name, host, path, want string }{
	{"exact", "app-4711.example.com", "/a/b/c", "host-4711"},
	{"spelled", "APP-4711.Example.com.:443", "/a/b/c", "host-4711"},
	{"wildcard", "www.org-4710.example.com", "/a/b/c", "wild-4710"},
	{"prefixes", "paths.example.com", "/tenants/tenant-4711/a/b/c", "path-4711"},
	{"unknown", "unknown.example.org", "/a/b/c", ""},
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table := bigTable(10_000)
	for _, tt := range lookups {
		if got := serviceOf(table, tt.host, tt.path); got != tt.want {
			t.Errorf("%s: served by %q, want %q", tt.name, got, tt.want)
		}
		if n := testing.AllocsPerRun(100, func() { table.lookup(tt.host, tt.path) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// BenchmarkLookup measures a lookup among 10,000 services, whose budget is 200 ns
// and no allocation.
func BenchmarkLookup(b *testing.B) {
	table := bigTable(10_000)
	for _, tt := range lookups {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.lookup(tt.host, tt.path)
			}
		})
	}
	// Hosts at random, so that no cache has them.
	b.Run("random", func(b *testing.B) {
		hosts := make([]string, 10_000)
		for i := range hosts {
			hosts[i] = fmt.Sprintf("app-%d.example.com", rand.IntN(10_000))
		}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(hosts)); pb.Next(); i++ {
				table.lookup(hosts[i%len(hosts)], "/a/b/c")
			}
		})
	})
}

// FuzzLookup compares lookup with a search through all claims.
func FuzzLookup(f *testing.F) {
	f.Add("a.example.com,*.example.com", "/,/api", "a.example.com", "/api/x")
	f.Add("*.example.com,,b", "/api,/api/v1", "A.EXAMPLE.com.:80", "/api/v1")
	f.Add("::1,[2001:db8::1]", "/", "[::1]:80", "//")
	f.Add("bücher.de,*.a", "/a,/a/b,/a/b/c", "xn--bcher-kva.de", "/a/b/cc/")
	f.Add("a,*.a", "/", ".a", "")
	f.Add("", "", "*.a", "*")
	f.Fuzz(func(t *testing.T, hosts, prefixes, host, path string) {
		if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == '[' || r == ']' }) && net.ParseIP(naiveHost(host)) == nil {
			return // cannot be in a Host header
		}
		if strings.Count(host, ":") == 1 && strings.HasPrefix(host, "[") {
			return // neither a name nor an address
		}
		var claims []*claim
		taken := make(map[api.Route]bool)
		for i, h := range strings.Split(hosts, ",") {
			var err error
			if h != "" {
				if h, err = api.NormalizeHost(h); err != nil {
					continue
				}
			}
			c := &claim{service: fmt.Sprint("s", i)}
			for p := range strings.SplitSeq(prefixes, ",") {
				prefix, err := api.NormalizePrefix(p)
				if r := (api.Route{Host: h, Prefix: prefix}); err == nil && !taken[r] {
					taken[r] = true
					c.routes = append(c.routes, r)
				}
			}
			if len(c.routes) > 0 {
				claims = append(claims, c)
			}
		}
		compareWithNaive(t, newTable(claims), claims, host, path)
		edited := newTable(nil)
		for _, c := range claims {
			edited = edited.with(c)
		}
		compareWithNaive(t, edited, claims, host, path)
		if len(claims) > 0 {
			compareWithNaive(t, edited.without(claims[0]), claims[1:], host, path)
		}
	})
}

// FuzzNormalizeHost checks that what is accepted is what the router compares
// with, however a client spells it.
func FuzzNormalizeHost(f *testing.F) {
	for _, s := range []string{"app.example.com", "*.example.com", "bücher.de", "[::1]", "A.", "a..", "a。", "127.1", "xn--a", "*.", "ß.de", "a_b", "1.2.3.4."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := api.NormalizeHost(s)
		if err != nil {
			if strings.ContainsFunc(err.Error(), api.IsControl) {
				t.Fatalf("%q: the error steers terminals: %q", s, err)
			}
			return
		}
		if again, err := api.NormalizeHost(host); err != nil || again != host {
			t.Fatalf("%q becomes %q, which becomes %q, %v", s, host, again, err)
		}
		domain := strings.TrimPrefix(host, "*.")
		for _, spelling := range []string{domain, strings.ToUpper(domain), domain + "."} {
			if strings.Contains(domain, ":") {
				spelling = "[" + strings.TrimSuffix(spelling, ".") + "]"
			}
			for _, port := range []string{"", ":80"} {
				if got := string(canonicalHost(make([]byte, 0, 256), spelling+port)); got != domain {
					t.Fatalf("%q becomes %q, but a request for %q is for %q", s, host, spelling+port, got)
				}
			}
		}
	})
}

// FuzzNormalizePrefix checks that an accepted prefix is found again in the paths
// below it, and nowhere else.
func FuzzNormalizePrefix(f *testing.F) {
	for _, s := range []string{"/", "/api", "/api/", "/a/b/c", "//", "/a//b", "/.", "/..", "/%2F", "api"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		prefix, err := api.NormalizePrefix(s)
		if err != nil {
			return
		}
		if again, err := api.NormalizePrefix(prefix); err != nil || again != prefix {
			t.Fatalf("%q becomes %q, which becomes %q, %v", s, prefix, again, err)
		}
		c := newClaim(&lineup{active: &release{Spec: &api.Spec{Service: "s", Routes: api.RoutesOf(nil, []string{prefix})}}})
		for _, below := range []string{"", "/", "/x"} {
			path := strings.TrimSuffix(prefix, "/") + below
			if _, got := newTable([]*claim{c}).lookup("h", path); got != prefix {
				t.Fatalf("%q becomes %q, which does not match %q", s, prefix, path)
			}
		}
		if got, _ := newTable([]*claim{c}).lookup("h", prefix+"x"); prefix != "/" && got != nil {
			t.Fatalf("%q becomes %q, which matches %q", s, prefix, prefix+"x")
		}
	})
}
