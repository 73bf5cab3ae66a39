package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// A deploy that says "live" gets requests: one of a host that a site of --config has is
// refused, or warned of.
func TestHostOfASiteIsRefused(t *testing.T) {
	const sites = `{
	auto_https disable_redirects
}
http://www.example.com, http://*.sites.example.com {
	respond "site"
}
http://api.example.com {
	respond /health "healthy"
	parachute
}
http://split.example.com {
	handle /old/* {
		respond "old"
	}
	handle {
		parachute
	}
}
https://secure.localhost {
	tls internal
	respond "site"
}
http://elsewhere.example.com:%PORT {
	respond "site"
}
`
	start := func(t *testing.T, flags ...string) *rig.Proxy {
		t.Helper()
		p := newProxy(t)
		port, err := rig.FreePort()
		must(t, err)
		file := filepath.Join(p.Dir, "Caddyfile")
		must(t, os.WriteFile(file, []byte(strings.ReplaceAll(sites, "%PORT", itoa(port))), 0o600))
		p.Args = append([]string{"--config", file}, flags...)
		must(t, p.Start())
		return p
	}
	p, a := start(t), startApp(t, "a", nil)
	for host, site := range map[string]string{
		"www.example.com":       "www.example.com",
		"WWW.Example.com.":      "www.example.com",
		"a.sites.example.com":   "*.sites.example.com",
		"*.sites.example.com":   "*.sites.example.com",
		"secure.localhost":      "secure.localhost",
		"a.b.sites.example.com": "",
		"*.example.com":         "",
		"api.example.com":       "",
		"split.example.com":     "",
		"elsewhere.example.com": "",
		"other.example.com":     "",
	} {
		r := run(t, p, "deploy", a.addr(), "--service", "app", "--host", host, "--host", "first.example.com")
		if site == "" {
			if r.Code != 0 {
				t.Errorf("%s: %+v", host, r)
			}
			asked := strings.ReplaceAll(host, "*", "any")
			if _, body := get(t, p, asked, "/"); body != "a" {
				t.Errorf("%s: is live, but the answer is %q", host, body)
			}
			continue
		}
		if r.Code != 4 || !strings.Contains(r.Stderr, "belongs to the site "+site+" ") || !strings.Contains(r.Stderr, "hint: ") {
			t.Errorf("%s: %+v", host, r)
		}
	}
	if r := run(t, p, "deploy", a.addr(), "--host", "www.example.com", "--tls=internal"); r.Code != 0 {
		t.Errorf("over TLS, the host has no site: %+v", r)
	}
	p = start(t, "--allow-site-hosts")
	if r := run(t, p, "deploy", a.addr(), "--host", "www.example.com"); r.Code != 0 {
		t.Errorf("with a warning: %+v", r)
	}
	warnings := func() int { return strings.Count(p.Log(), "go to a site of the config") }
	waitFor(t, "a warning", func() bool { return warnings() == 1 })
	must(t, p.ReloadConfig(patience))
	waitFor(t, "a warning of the reload", func() bool { return warnings() == 2 })
}
