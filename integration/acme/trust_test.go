package acme

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Trap 47, over TLS: what a client says of itself is believed of nobody but a proxy
// that is trusted.
func TestForwardingHeadersOverTLS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags []string
		want  map[string]string
	}{
		"untrusted": {nil, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "Forwarded": "", "X-Real-Ip": "", "X-Forwarded-Port": "",
		}},
		"trusted": {[]string{"--trusted-proxies", "127.0.0.0/8"}, map[string]string{
			"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "http", "Forwarded": "for=203.0.113.9", "X-Real-Ip": "203.0.113.9", "X-Forwarded-Port": "1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := common.Get(t)
			if c.flags != nil {
				s = startServer(t, nil, c.flags...)
			}
			host := newHost()
			s.deploy(t, startApp(t, func(w http.ResponseWriter, r *http.Request) {
				_ = json.NewEncoder(w).Encode(r.Header)
			}).addr(), "--host", host, "--tls=internal").wantDone(t)
			eachProtocol(t, func(t *testing.T, protocol string) {
				req, err := http.NewRequest(http.MethodGet, "https://"+host+"/", nil)
				must(t, err)
				for name, value := range map[string]string{
					"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "Forwarded": "for=203.0.113.9", "X-Real-Ip": "203.0.113.9", "X-Forwarded-Port": "1",
				} {
					req.Header.Set(name, value)
				}
				a, err := do(s.client(t, protocol, s.internalRoots(t)), req)
				must(t, err)
				var seen http.Header
				if err := json.Unmarshal([]byte(a.body), &seen); err != nil {
					t.Fatalf("%s", a)
				}
				for name, want := range c.want {
					if got := strings.Join(seen[name], "|"); got != want {
						t.Errorf("%s is %q at the app, want %q", name, got, want)
					}
				}
			})
		})
	}
}

// A header that anybody can send does not keep anybody from HTTPS. That of a proxy that
// ends TLS itself, and is trusted, does: it would be redirected for ever.
func TestForwardedProtoDecidesOverTheRedirect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		s      *server
		status int
	}{
		"untrusted": {common.Get(t), http.StatusMovedPermanently},
		"trusted":   {startServer(t, nil, "--trusted-proxies", "127.0.0.0/8"), http.StatusOK},
	} {
		host := newHost()
		c.s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls=internal").wantDone(t)
		for proto, status := range map[string]int{"https": c.status, "http": http.StatusMovedPermanently, "": http.StatusMovedPermanently} {
			req, err := http.NewRequest(http.MethodGet, "http://"+host+"/", nil)
			must(t, err)
			req.Header.Set("X-Forwarded-Proto", proto)
			a, err := do(c.s.client(t, h1, nil), req)
			must(t, err)
			if a.StatusCode != status {
				t.Errorf("%s, X-Forwarded-Proto: %q: %s", name, proto, a)
			}
		}
	}
}
