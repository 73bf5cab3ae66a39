package api

import (
	"slices"
	"testing"
)

// TestWhatKeepsNobodyOutAnyMoreIsTold once, as is what needs HTTPS and has none.
func TestWhatKeepsNobodyOutAnyMoreIsTold(t *testing.T) {
	closed := Options{BasicAuth: []string{"bob:x"}, ForwardAuth: "http://a", ClientCA: "x", AllowIP: []string{"192.0.2.1"}, DenyIP: []string{"192.0.2.2"}, HSTS: "max-age=1", TLS: new(TLSOptions)}
	plain := closed
	plain.TLS = nil
	untold := []string{
		"web has `basic_auth` without `tls`: others on the way can read the passwords, unless something in front of the proxy serves HTTPS",
		"web has `hsts` without `tls`: it has no effect, unless something in front of the proxy serves HTTPS",
	}
	for name, tt := range map[string]struct {
		before *Options
		next   Options
		want   []string
	}{
		"new":            {nil, closed, nil},
		"the same":       {&closed, closed, nil},
		"opened":         {&Options{}, Options{}, nil},
		"new over HTTP":  {nil, plain, untold},
		"TLS taken away": {&closed, plain, untold},
		"as it was":      {&plain, plain, nil},
		"all is gone": {&closed, Options{}, []string{
			"web has no `basic_auth` any more: it asks nobody for a password",
			"web has no `forward_auth` any more: the gateway is not asked",
			"web has no `client_ca` any more: clients need no certificate",
			"web has no `allow_ip` any more: clients get in from all addresses",
			"web has no `deny_ip` any more: it refuses no addresses",
		}},
	} {
		if got := Warnings("web", tt.before, tt.next); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
