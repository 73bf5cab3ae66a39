package main

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/parachute-proxy/parachute/internal/run"
)

// TestLeanHasWhatRunNeeds whatever its flags say.
func TestLeanHasWhatRunNeeds(t *testing.T) {
	for _, flags := range [][]string{
		nil,
		{"--access-log", "--metrics-port", "0", "--acme-email", "ops@example.com", "--trusted-proxies", "10.0.0.0/8", "--ping-path", "/ping"},
		{"--access-log", "--debug", "--allow-handlers", "all"},
	} {
		raw, err := run.Config(append(flags, "--storage", t.TempDir(), "--admin", "unix/"+t.TempDir()+"/admin.sock")...)
		if err != nil {
			t.Fatalf("%q: %v", flags, err)
		}
		provision(t, raw)
	}
}

// TestLeanHasTheHandlersOfServices that are allowed without a word of the operator's, but for tracing.
func TestLeanHasTheHandlersOfServices(t *testing.T) {
	const handlers = `:8080 {
	@office {
		client_ip 192.0.2.0/24
		expression {http.request.method} != "PUT"
		header X-A a
		path_regexp ^/a
		protocol https
		query a=b
		vars a b
	}
	encode zstd gzip
	header -Server
	request_header X-A a
	basic_auth {
		ada $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
	forward_auth 127.0.0.1:9091 {
		uri /verify
	}
	map {path} {a} {
		default b
	}
	request_body {
		max_size 1MB
	}
	rewrite @office /a
	uri strip_prefix /b
	redir /c /d
	respond /e 403
	error /f 404
	vars a b
	handle_errors {
		respond "sorry"
	}
}
`
	raw, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(handlers), nil)
	if err != nil {
		t.Fatal(err, warnings)
	}
	provision(t, raw)
}

// provision makes what a config names, and starts nothing.
func provision(t *testing.T, raw []byte) {
	t.Helper()
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(raw, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Errorf("%v\n%s", err, raw)
	}
}
