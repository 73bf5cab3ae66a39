package api

import (
	"slices"
	"strings"
	"testing"
)

const bcryptHash = "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"

func TestHandlerSettingsAreChecked(t *testing.T) {
	base := DeployRequest{Targets: []string{"web:1"}}
	for _, tt := range []struct {
		set  func(*DeployRequest, ...string)
		good []string
		bad  []string
	}{
		{
			func(r *DeployRequest, v ...string) { r.Headers = v },
			[]string{"X-A: b", "-Server", "Permissions-Policy: camera=(), microphone=()", "x-a:b", "-Host", "-X-*", "Link: <{http.request.uri}>; rel=a"},
			[]string{"", "X-A", "X A: b", "X-A: b\nX-C: d", "-", "-X: a", "X-A: {", "X-A: }", ": b", "X-A: \x00", "X-Empty:", "X-Empty: ", "Content-Length: 3", "transfer-encoding: chunked", "Connection: close", "Upgrade: h2c", "Trailer: X", "Host: a", "+X: a", "X-A: " + strings.Repeat("a", MaxHandlerValue)},
		},
		{
			func(r *DeployRequest, v ...string) { r.HSTS = v[0] },
			[]string{"max-age=1", "max-age=31536000; includeSubDomains; preload", "max-age=0;includeSubDomains"},
			[]string{"31536000", "max-age", "max-age=1; nonsense", "max-age=1\n", "includeSubDomains"},
		},
		{
			func(r *DeployRequest, v ...string) { r.AllowIP = v },
			[]string{"192.0.2.1", "192.0.2.0/24", "2001:db8::/32"},
			[]string{"", "192.0.2", "192.0.2.0/33", "example.com", "private_ranges", "*", "192.0.2.1 192.0.2.2", "10.0.0.5/8", "2001:db8::1/32"},
		},
		{
			func(r *DeployRequest, v ...string) { r.DenyIP = v },
			[]string{"192.0.2.1"},
			[]string{"everybody"},
		},
		{
			func(r *DeployRequest, v ...string) { r.Redirects = v },
			[]string{"/old /new", "/old/* https://a.test{uri} 308", "/a  /b  301", "/a //b.test/a", "/a {http.request.header.To}", "/a /a{uri}"},
			[]string{"", "/old", "old /new", "@a /new", "* /new", "/old /new 200", "/old /new 301 x", "/old {", "/old /new\n}", "/a /a", "/A /a?x=1#y", "/a* /ab", "/x x", "/x ://x", "/a,/b /c"},
		},
		{
			func(r *DeployRequest, v ...string) { r.Rewrites = v },
			[]string{"/old /new", "/a/* /b{uri}", "/x {path}/index.html"},
			[]string{"", "/old", "* /new", "/old new", "/old /new x", "/ }"},
		},
		{
			func(r *DeployRequest, v ...string) { r.RateLimit = v[0] },
			[]string{"100/1m", "1/1s", "5/24h"},
			[]string{"100", "0/1m", "-1/1m", "100/0s", "100/25h", "many/1m", "100/1m/1m", "1/10ms"},
		},
		{
			func(r *DeployRequest, v ...string) { r.BasicAuth = v },
			[]string{"bob:" + bcryptHash, "bob:" + strings.Replace(bcryptHash, "$2a$", "$2y$", 1), "bob:$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"},
			[]string{"bob", "bob:hiccup", ":" + bcryptHash, "bob smith:" + bcryptHash, "{:" + bcryptHash, "bob:$apr1$a$b", "bob:" + bcryptHash + " x"},
		},
		{
			func(r *DeployRequest, v ...string) { r.ForwardAuth = v[0] },
			[]string{"http://authelia:9091/api/authz/forward-auth", "https://auth.test", "http://[::1]:1/a?b=c"},
			[]string{"authelia:9091", "ftp://a.test", "http://", "http://user:password@a.test", "http://a.test/#x", "http://a.test/ {", "http://a.test/{env.X}"},
		},
		{
			func(r *DeployRequest, v ...string) { r.ForwardAuth, r.ForwardAuthHeaders = "http://a.test", v },
			[]string{"Remote-User"},
			[]string{"Remote User", "{", "Remote-User>X"},
		},
		{
			func(r *DeployRequest, v ...string) { r.With = v[0] },
			[]string{"encode"},
			[]string{" \n", "\xff", "a\x00b", strings.Repeat("a", MaxWith+1)},
		},
	} {
		for _, v := range tt.good {
			r := base
			tt.set(&r, v)
			s, err := r.Resolve()
			if err != nil || !s.Options.HasHandlers() {
				t.Errorf("%q is refused, or is nothing: %v", v, err)
			}
		}
		for _, v := range tt.bad {
			r := base
			if tt.set(&r, v); v == "" && r.HSTS == "" && r.With == "" && r.RateLimit == "" && r.ForwardAuth == "" && len(r.Headers)+len(r.AllowIP)+len(r.Redirects)+len(r.Rewrites) == 0 {
				continue
			}
			if err := r.Validate(); ErrorCode(err) != CodeInvalid || strings.ContainsFunc(err.Error(), IsControl) || strings.Contains(err.Error(), "hiccup") {
				t.Errorf("%.80q is accepted, or told of badly: %v", v, err)
			}
		}
	}
	fine := base
	fine.Redirects = []string{"/blog/new /x", "/blog/* /blog/new", "/x /y"}
	if err := fine.Validate(); err != nil {
		t.Errorf("redirects that end are refused: %v", err)
	}
	for name, r := range map[string]DeployRequest{
		"two algorithms":      {Targets: []string{"web:1"}, BasicAuth: []string{"a:" + bcryptHash, "b:$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"}},
		"redirects in a ring": {Targets: []string{"web:1"}, Redirects: []string{"/a /b", "/b/* /c", "/b /d", "/d /a"}},
		"no question":         {Targets: []string{"web:1"}, ForwardAuthHeaders: []string{"Remote-User"}},
		"many":                {Targets: []string{"web:1"}, DenyIP: slices.Repeat([]string{"192.0.2.1"}, MaxHandlerList+1)},
	} {
		if err := r.Validate(); ErrorCode(err) != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSecretsAreNotShown to people, who paste what commands print.
func TestSecretsAreNotShown(t *testing.T) {
	with := func(accounts ...string) Options { return Options{BasicAuth: accounts} }
	a, b := with("bob:"+bcryptHash), with("bob:"+strings.Replace(bcryptHash, "Zkx", "Zky", 1), "eve:"+bcryptHash)
	changes := Changes(nil, a, nil, b)
	if len(changes) != 1 || !strings.HasPrefix(changes[0], "basic-auth-file: bob (") || strings.Contains(changes[0], "$2a$") {
		t.Errorf("told is %q", changes)
	}
	for _, v := range b.NotDefault() {
		if strings.Contains(v.Text, "$2a$") {
			t.Errorf("shown is %q", v)
		}
	}
}
