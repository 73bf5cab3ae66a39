package run_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what configs refer to

	_ "github.com/parachute-proxy/parachute" // the modules that the config names
	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/run"
)

// runFlags returns flags of `parachute run` for unprivileged ports and a storage of its
// own. Flags that are appended win over them.
func runFlags(t *testing.T) []string {
	t.Helper()
	return []string{"--http-port=8080", "--https-port=8443", "--admin=unix//run/test.sock", "--storage=" + t.TempDir()}
}

// storageOf returns the storage that flags of runFlags name.
func storageOf(flags []string) string { return strings.TrimPrefix(flags[3], "--storage=") }

// builtConfig is a config that Caddy has accepted.
type builtConfig struct {
	t    *testing.T
	json map[string]any
}

func build(t *testing.T, flags []string) builtConfig {
	t.Helper()
	b, err := run.Config(flags...)
	if err != nil {
		t.Fatal(err)
	}
	return accepted(t, b)
}

// accepted returns a config that Caddy has to accept.
func accepted(t *testing.T, b []byte) builtConfig {
	t.Helper()
	var whole *caddy.Config
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(whole); err != nil {
		t.Fatalf("Caddy refuses the config: %v\n%s", err, b)
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	return builtConfig{t, config}
}

// has checks what is at a path of keys, which are separated by slashes. What is
// not there is null.
func (c builtConfig) has(path, want string) {
	c.t.Helper()
	var found any = c.json
	for key := range strings.SplitSeq(path, "/") {
		o, _ := found.(map[string]any)
		found = o[key]
	}
	var wanted any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		c.t.Fatal(err)
	}
	got, _ := json.Marshal(found)
	normalized, _ := json.Marshal(wanted)
	if string(got) != string(normalized) {
		c.t.Errorf("%s is\n%s instead of\n%s", path, got, normalized)
	}
}

const (
	// challenges tell the issuers the ports.
	challenges = `{"http": {"disabled": false, "alternate_port": 8080}, "tls-alpn": {"alternate_port": 8443}}`
	askUs      = `"get_certificate": [{"via": "parachute"}]`
	toServices = `{"handle": [{"handler": "parachute", "client_timeout": "1m0s", "max_header_size": 65536}]}`
	httpAt     = "apps/http/servers/parachute_http"
	httpsAt    = "apps/http/servers/parachute_https"
)

func TestRunServesDeployedServicesAlone(t *testing.T) {
	flags := runFlags(t)
	c := build(t, flags)
	c.has(httpAt, `{"listen": ["parachute/:8080"], "routes": [`+toServices+`], "automatic_https": {"disable": true},
		"max_header_bytes": 1048576, "trusted_proxies": {"source": "parachute"}, "read_idle_timeout": -1, "write_idle_timeout": -1, "protocols": ["h1", "h2c"],
		"listener_wrappers": [{"wrapper": "parachute"}, {"wrapper": "tls"}, {"wrapper": "parachute_front", "edge": true}]}`)
	c.has(httpsAt+"/listen", `["parachute/:8443"]`)
	c.has(httpsAt+"/routes", `[`+toServices+`]`)
	c.has("apps/http/http_port", `8080`)
	c.has("apps/http/https_port", `8443`)
	c.has("apps/http/grace_period", "null") // it would apply to reloads
	c.has("apps/http/shutdown_delay", "null")
	c.has("apps/parachute/bound_exit", "true")
	c.has("apps/parachute/grace_period", `"10s"`)
	c.has("admin/listen", `"unix+parachute-admin//run/test.sock|0600"`)
	// The config of the next start is made from its flags.
	c.has("admin/config/persist", `false`)
	c.has("storage/root", `"`+storageOf(flags)+`"`)
	c.has("logging/logs/default/writer/output", `"parachute_stderr"`)
	c.has("logging/logs/default/level", `"INFO"`)
}

func TestWhatRunsInThePlaceOfAnotherProxyHasItsHabits(t *testing.T) {
	flags := append(runFlags(t), "--metrics-port=9090", "--access-log")
	c := run.Compat{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, TargetHeader: "X-Kamal-Target", LogFormat: "kamal_proxy"}
	for _, http3 := range []bool{false, true} {
		c.HTTP3 = http3
		b, err := c.Config(flags...)
		if err != nil {
			t.Fatal(err)
		}
		config, protocols := accepted(t, b), `["h1", "h2"]`
		if http3 {
			protocols = `null`
		}
		for path, want := range map[string]string{
			httpAt + "/read_header_timeout": `"10s"`, httpsAt + "/idle_timeout": `"1m0s"`, httpAt + "/protocols": `["h1", "h2c"]`, httpsAt + "/protocols": protocols,
			httpAt + "/routes":             `[{"handle": [{"handler": "parachute", "client_timeout": "1m0s", "max_header_size": 65536, "target_header": "X-Kamal-Target"}]}]`,
			"logging/logs/default/encoder": `{"format": "kamal_proxy"}`,
		} {
			config.has(path, want)
		}
		if !strings.Contains(string(b), `{"handle":[{"handler":"metrics"}]}]`) {
			t.Errorf("the last route of the metrics' port is another one: %s", b)
		}
	}
}

func TestRunFlagsReachTheConfig(t *testing.T) {
	root := writeRoot(t)
	for name, tc := range map[string]struct {
		flags []string
		want  map[string]string
	}{
		"no http": {
			[]string{"--http-port=0"},
			map[string]string{httpAt: `null`, "apps/http/http_port": `null`, httpsAt + "/listen": `["parachute/:8443"]`},
		},
		"no https": {
			[]string{"--https-port=0"},
			map[string]string{
				httpsAt: `null`, "apps/http/https_port": `null`, httpAt + "/listen": `["parachute/:8080"]`,
				"apps/tls": `null`, "apps/pki": `null`,
			},
		},
		"bind": {
			[]string{"--bind=::1", "--metrics-port=9090"},
			map[string]string{
				httpAt + "/listen": `["parachute/[::1]:8080"]`, httpsAt + "/listen": `["parachute/[::1]:8443"]`,
				"apps/http/servers/parachute_metrics/listen": `["parachute/[::1]:9090"]`,
			},
		},
		"metrics": {
			[]string{"--metrics-port=9090"},
			map[string]string{
				"apps/http/metrics": `{}`,
				"apps/http/servers/parachute_metrics/routes": `[
					{"match": [{"path": ["/metrics"]}], "handle": [{"handler": "metrics"}]},
					{"match": [{"path": ["/ready"], "vars": {"{http.shutting_down}": ["true"]}}],
						"handle": [{"handler": "static_response", "status_code": 503, "body": "stopping\n"}]},
					{"match": [{"path": ["/ready"]}], "handle": [{"handler": "static_response", "status_code": 200, "body": "ready\n"}]},
					{"handle": [{"handler": "static_response", "status_code": 404}]}]`,
			},
		},
		"trusted proxies": {
			[]string{"--trusted-proxies=10.0.0.0/8,192.0.2.1"},
			map[string]string{
				httpAt + "/trusted_proxies":         `{"source": "parachute", "trusted": {"source": "static", "ranges": ["10.0.0.0/8", "192.0.2.1"]}}`,
				httpAt + "/trusted_proxies_strict":  `1`,
				httpsAt + "/trusted_proxies":        `{"source": "parachute", "trusted": {"source": "static", "ranges": ["10.0.0.0/8", "192.0.2.1"]}}`,
				httpsAt + "/trusted_proxies_strict": `1`,
			},
		},
		"odd names dropped": {
			[]string{"--drop-odd-header-names", "--trusted-proxies=10.0.0.0/8"},
			map[string]string{httpAt + "/trusted_proxies": `{"source": "static", "ranges": ["10.0.0.0/8"]}`},
		},
		"without the edge": {
			[]string{"--edge=off"},
			map[string]string{
				httpAt + "/listener_wrappers":  `[{"wrapper": "parachute"}, {"wrapper": "tls"}, {"wrapper": "parachute_front"}]`,
				httpsAt + "/listener_wrappers": `[{"wrapper": "parachute"}, {"wrapper": "tls"}, {"wrapper": "parachute_front"}]`,
			},
		},
		"certificate authority": {
			[]string{"--acme-ca=https://ca.test/dir", "--acme-ca-root=" + root, "--acme-email=ops@example.com"},
			map[string]string{"apps/tls/automation/policies": `[{` + askUs + `, "issuers": [{"module": "acme", "challenges": ` + challenges + `,
				"ca": "https://ca.test/dir", "email": "ops@example.com", "trusted_roots_pem_files": ["` + root + `"]}]}]`},
		},
		"no certificate authority": {
			nil,
			map[string]string{
				"apps/tls/automation/policies":       `[{` + askUs + `, "issuers": [{"module": "acme", "challenges": ` + challenges + `}]}]`,
				"apps/tls/automation/on_demand":      `{"permission": {"module": "parachute"}}`,
				"apps/pki/certificate_authorities":   `{"local": {"install_trust": false}}`,
				httpsAt + "/tls_connection_policies": `[{"match": {"parachute_client_auth": {}}, "client_authentication": {"mode": "request"}}, {}]`,
				httpsAt + "/strict_sni_host":         `false`,
			},
		},
		"account of an authority": {
			[]string{"--acme-ca=https://ca.test/dir", "--acme-eab-key-id=kid", "--acme-eab-mac-key=a2V5"},
			map[string]string{"apps/tls/automation/policies": `[{` + askUs + `, "issuers": [{"module": "acme", "challenges": ` + challenges + `,
				"ca": "https://ca.test/dir", "external_account": {"key_id": "kid", "mac_key": "a2V5"}}]}]`},
		},
		"two authorities": {
			[]string{"--acme-email=ops@example.com", "--http-port=0", "--bind=::1"},
			map[string]string{"apps/tls/automation/policies": `[{` + askUs + `, "issuers": [
				{"module": "acme", "email": "ops@example.com", "challenges": {"bind_host": "::1", "http": {"disabled": true, "alternate_port": 0}, "tls-alpn": {"alternate_port": 8443}}},
				{"module": "acme", "email": "ops@example.com", "challenges": {"bind_host": "::1", "http": {"disabled": true, "alternate_port": 0}, "tls-alpn": {"alternate_port": 8443}},
				 "ca": "https://acme.zerossl.com/v2/DV90"}]}]`},
		},
		"staging": {
			[]string{"--tls-staging"},
			map[string]string{"apps/tls/automation/policies": `[{` + askUs + `, "issuers": [{"module": "acme", "challenges": ` + challenges + `,
				"ca": "https://acme-staging-v02.api.letsencrypt.org/directory"}]}]`},
		},
		"oldest TLS": {
			[]string{"--min-tls=1.3"},
			map[string]string{httpsAt + "/tls_connection_policies": `[{"match": {"parachute_client_auth": {}}, "client_authentication": {"mode": "request"}, "protocol_min": "tls1.3"}, {"protocol_min": "tls1.3"}]`},
		},
		"access log": {
			[]string{"--access-log"},
			map[string]string{httpAt + "/logs": `{}`, httpsAt + "/logs": `{}`},
		},
		"debug": {
			[]string{"--debug"},
			map[string]string{"logging/logs/default/level": `"DEBUG"`},
		},
		"grace period": {
			[]string{"--grace-period=90s"},
			map[string]string{"apps/parachute/grace_period": `"1m30s"`},
		},
		"shutdown delay": {
			[]string{"--shutdown-delay=5s"},
			map[string]string{"apps/http/shutdown_delay": `"5s"`},
		},
		"client timeout": {
			[]string{"--client-timeout=5s"},
			map[string]string{httpAt + "/routes": `[{"handle": [{"handler": "parachute", "client_timeout": "5s", "max_header_size": 65536}]}]`},
		},
		"admin on TCP": {
			[]string{"--admin=http://localhost:2019/"},
			map[string]string{"admin/listen": `"parachute-admin/localhost:2019"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := build(t, append(runFlags(t), tc.flags...))
			for path, want := range tc.want {
				c.has(path, want)
			}
		})
	}
}

// writeRoot returns a file with the certificate of a certificate authority.
func writeRoot(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withFile returns flags with a user's file.
func withFile(t *testing.T, name, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return append(runFlags(t), "--config="+path)
}

func TestSitesComeBeforeServicesOnTheSamePort(t *testing.T) {
	c := build(t, withFile(t, "Caddyfile", `http://:8080 {
		respond /health ok
	}`))
	c.has(httpAt, `null`)
	c.has("apps/http/servers/srv0/listen", `["parachute/:8080"]`)
	c.has("apps/http/servers/srv0/routes", `[
		{"match": [{"path": ["/health"]}], "handle": [{"handler": "static_response", "body": "ok"}]},
		`+toServices+`]`)
	c.has(httpsAt+"/routes", `[`+toServices+`]`)
}

func TestSitesOverTLSShareThePortWithServices(t *testing.T) {
	c := build(t, withFile(t, "caddy.json", `{"apps": {"http": {"servers": {"mine": {
		"listen": [":8443"],
		"routes": [{"match": [{"host": ["www.example.com"]}], "handle": [{"handler": "static_response"}]}]
	}}}}}`))
	c.has(httpsAt, `null`)
	c.has("apps/http/servers/mine/tls_connection_policies", `[{"match": {"parachute_client_auth": {}}, "client_authentication": {"mode": "request"}}, {}]`)
	c.has("apps/http/servers/mine/strict_sni_host", `false`)
	c.has("apps/http/servers/mine/routes", `[
		{"match": [{"host": ["www.example.com"]}], "handle": [{"handler": "static_response"}]},
		`+toServices+`]`)
	c.has(httpAt+"/listen", `["parachute/:8080"]`)
}

// A site without a port belongs on the proxy's ports, wherever those are.
func TestSitesMoveToTheProxysPorts(t *testing.T) {
	c := build(t, append(withFile(t, "Caddyfile", "http://www.test {\n respond ok\n}\napp.test {\n parachute\n}"), "--bind=127.0.0.1"))
	c.has("apps/http/http_port", "8080")
	c.has(httpAt, "null")
	c.has(httpsAt, "null")
	c.has("apps/http/servers/srv0/listen", `["parachute/127.0.0.1:8443"]`)
	c.has("apps/http/servers/srv1/listen", `["parachute/127.0.0.1:8080"]`)

	flags := withFile(t, "Caddyfile", "{\n http_port 9090\n}\nhttp://www.test {\n respond ok\n}")
	if _, err := run.Config(flags...); err == nil || !strings.Contains(err.Error(), "http_port is 9090") {
		t.Errorf("ports that contradict each other: %v", err)
	}
}

func TestSitesOnOtherPortsAreLeftAlone(t *testing.T) {
	c := build(t, withFile(t, "Caddyfile", "http://:9000 {\n respond ok\n}"))
	c.has("apps/http/servers/srv0/listen", `["parachute/:9000"]`)
	c.has("apps/http/servers/srv0/routes", `[{"handle": [{"handler": "static_response", "body": "ok"}]}]`)
	c.has(httpAt+"/routes", `[`+toServices+`]`)
	c.has(httpsAt+"/routes", `[`+toServices+`]`)
}

func TestFileWinsOverWhatFlagsDoNotSay(t *testing.T) {
	flags := withFile(t, "caddy.json", `{
		"admin": {"listen": "localhost:2020", "origins": ["localhost"]},
		"logging": {"logs": {"default": {"level": "ERROR"}}},
		"apps": {"http": {"grace_period": "1s"}, "tls": null}
	}`)
	c := build(t, append(flags, "--admin="))
	c.has("admin", `{"listen": "parachute-admin/localhost:2020", "origins": ["localhost"], "config": {"persist": false}}`)
	c.has("logging/logs/default/level", `"ERROR"`)
	c.has("logging/logs/default/writer/output", `"parachute_stderr"`)
	// Caddy may warn of that endpoint.
	c.has("logging/logs/default/exclude", `["admin.api"]`)
	c.has("logging/logs/parachute_admin", `null`)
	c.has("apps/http/grace_period", `"1s"`)
	c.has(httpAt+"/listen", `["parachute/:8080"]`)
}

func TestFlagsForPlacesWinOverTheFile(t *testing.T) {
	flags := withFile(t, "caddy.json", `{
		"admin": {"listen": "localhost:2020"},
		"storage": {"module": "file_system", "root": "/elsewhere"}
	}`)
	c := build(t, flags)
	c.has("admin/listen", `"unix+parachute-admin//run/test.sock|0600"`)
	c.has("storage", `{"module": "file_system", "root": "`+storageOf(flags)+`"}`)
}

func TestAutomationPoliciesOfTheFileComeFirst(t *testing.T) {
	issuers := `"issuers": [{"module": "acme", "challenges": ` + challenges + `, "ca": "https://ca.test/dir"}]`
	ours := `{` + askUs + `, ` + issuers + `}`
	for name, tc := range map[string]struct{ theirs, want string }{
		"none":                           {`[]`, `[` + ours + `]`},
		"for some names":                 {`[{"subjects": ["a.example.com"], "issuers": [{"module": "internal"}]}]`, `[{"subjects": ["a.example.com"], "issuers": [{"module": "internal"}]}, ` + ours + `]`},
		"for some names, no issuers":     {`[{"subjects": ["a.example.com"]}]`, `[{"subjects": ["a.example.com"], ` + issuers + `}, ` + ours + `]`},
		"for internal names, no issuers": {`[{"subjects": ["localhost"]}]`, `[{"subjects": ["localhost"]}, ` + ours + `]`},
		"for all names":                  {`[{"issuers": [{"module": "internal"}]}]`, `[{"issuers": [{"module": "internal"}], ` + askUs + `}]`},
		"for all names, without issuers": {`[{"key_type": "p384"}]`, `[{"key_type": "p384", ` + askUs + `, ` + issuers + `}]`},
	} {
		t.Run(name, func(t *testing.T) {
			flags := withFile(t, "caddy.json", `{"apps": {"tls": {"automation": {"policies": `+tc.theirs+`}}}}`)
			build(t, append(flags, "--acme-ca=https://ca.test/dir")).has("apps/tls/automation/policies", tc.want)
		})
	}
}

// The certificates of sites are obtained when Caddy starts, which it leaves to the first
// handshake where it has anybody to ask.
func TestSitesOfTheFileHavePoliciesThatAskNobody(t *testing.T) {
	issuers := `"issuers": [{"module": "acme", "challenges": ` + challenges + `, "ca": "https://ca.test/dir"}]`
	sites := "b.example.com, a.example.com {\n respond ok\n}\nlocalhost {\n respond ok\n}\nhttp://plain.example.com {\n respond ok\n}\n"
	for name, tc := range map[string]struct{ file, want string }{
		"without policies": {sites, `[
			{"subjects": ["a.example.com", "b.example.com"], ` + issuers + `}, {"subjects": ["localhost"]},
			{` + askUs + `, ` + issuers + `}]`},
		"one has a policy": {sites + "c.example.com {\n tls internal\n respond ok\n}", `[
			{"subjects": ["a.example.com", "b.example.com"], ` + issuers + `}, {"subjects": ["c.example.com"], "issuers": [{"module": "internal"}]},
			{"subjects": ["localhost"]},
			{` + askUs + `, ` + issuers + `}]`},
	} {
		t.Run(name, func(t *testing.T) {
			flags := append(withFile(t, "Caddyfile", tc.file), "--acme-ca=https://ca.test/dir")
			build(t, flags).has("apps/tls/automation/policies", tc.want)
		})
	}
}

// Who may have certificates on demand for their own sites is for them to say.
func TestOnDemandPermissionOfTheFileStays(t *testing.T) {
	c := build(t, withFile(t, "Caddyfile", "{\n on_demand_tls {\n  ask http://localhost:5555/ask\n }\n}\nhttps:// {\n tls {\n  on_demand\n }\n respond ok\n}"))
	c.has("apps/tls/automation/on_demand", `{"permission": {"module": "http", "endpoint": "http://localhost:5555/ask"}}`)
	c.has("apps/tls/automation/policies", `[{"on_demand": true, `+askUs+`, "issuers": [{"module": "acme", "challenges": `+challenges+`}]}]`)
}

func TestFlagsForCertificatesThatContradictEachOtherAreRefused(t *testing.T) {
	for want, flags := range map[string][]string{
		"choose two different authorities":         {"--tls-staging", "--acme-ca=https://ca.test/dir"},
		"belong together":                          {"--acme-eab-key-id=kid"},
		"use 1.2 or 1.3":                           {"--min-tls=1.1"},
		"no plugin for the DNS provider nosuchdns": {"--acme-dns=nosuchdns {env.TOKEN}"},
		"--with github.com/caddy-dns/nosuchdns":    {"--acme-dns=nosuchdns"},
	} {
		if _, err := run.Config(append(runFlags(t), flags...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v instead of one with %q", err, want)
		}
	}
}

func TestFlagsOfAFleetThatCannotWorkAreRefused(t *testing.T) {
	for want, flags := range map[string][]string{
		"need --fleet": {"--fleet-server=10.0.0.1"},
		"use storage, or an address that begins with nats://":                              {"--fleet=redis://u:secret@10.0.0.1"},
		"need --fleet with the addresses":                                                  {"--fleet=storage", "--fleet-server=10.0.0.1"},
		"needs --fleet-secret-file":                                                        {"--fleet=nats://10.0.0.1", "--fleet-server=10.0.0.1"},
		"xcaddy build --with github.com/parachute-proxy/parachute/nats --output parachute": {"--fleet=nats://10.0.0.1", "--fleet-name=a"},
		"no fleet on NATS built in":                                                        {"--fleet=tls://10.0.0.1", "--fleet-name=a"},
	} {
		_, err := run.Config(append(runFlags(t), flags...)...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("got the error %v instead of one with %q", err, want)
		}
	}
}

func TestFilesThatCannotBeMergedAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ file, text, want string }{
		"admin off":          {"Caddyfile", "{\n admin off\n}", "it turns the admin endpoint off, without which nothing can be deployed"},
		"admin no object":    {"caddy.json", `{"admin": 1}`, "admin is not an object"},
		"name of our server": {"caddy.json", `{"apps": {"http": {"servers": {"parachute_http": {}}}}}`, "the server name parachute_http is reserved for parachute"},
		"no object":          {"caddy.json", `[]`, "is not a JSON object"},
		"no JSON":            {"caddy.json", `{`, "caddy.json"},
		"no Caddyfile":       {"Caddyfile", "http://:8080 {", "Caddyfile"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := run.Config(withFile(t, tc.file, tc.text)...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got the error %v instead of one with %q", err, tc.want)
			}
		})
	}
}

// Caddy then says what is wrong with them, also when a reload brings them.
func TestFilesWithOddLogsAreMerged(t *testing.T) {
	for _, logging := range []string{
		`1`, `{"logs": 1}`, `{"logs": {"default": "INFO"}}`, `{"logs": {"default": {"exclude": 1}}}`, `{"logs": {"parachute_api": []}}`,
	} {
		if _, err := run.Config(withFile(t, "caddy.json", `{"logging": `+logging+`}`)...); err != nil {
			t.Errorf("%s: %v", logging, err)
		}
	}
}

func TestCaddyfileOfAnotherNameGetsAHint(t *testing.T) {
	for name, hint := range map[string]string{
		"sites":      "name it Caddyfile or *.caddyfile",
		"sites.conf": "name it Caddyfile or *.caddyfile",
		"sites.json": "",
	} {
		_, err := run.Config(withFile(t, name, "a.test {\n\trespond hello\n}\n")...)
		failed, ok := errors.AsType[*api.Error](cli.AsFailedStart(err))
		if !ok || !strings.Contains(failed.Message, name+" is not valid JSON: ") || strings.Contains(failed.Message, "--adapter") {
			t.Errorf("%s: %v", name, err)
		}
		if ok && (!strings.Contains(failed.Hint, hint) || hint == "" && failed.Hint != "") {
			t.Errorf("%s: the hint is %q", name, failed.Hint)
		}
	}
}

// The handler refuses large heads, and the server has to parse what it refuses.
func TestHeadsAreParsedBeyondTheirLimit(t *testing.T) {
	const handler, server = `[{"handle":[{"client_timeout":"1m0s","handler":"parachute","max_header_size":%LIMIT}]}]`, "apps/http/servers/parachute_https/"
	for flag, want := range map[string][2]string{
		"":       {"65536", "1048576"},
		"4KiB":   {"4096", "1048576"},
		"100000": {"100000", "1048576"},
		"16MiB":  {"16777216", "33554432"},
	} {
		flags := runFlags(t)
		if flag != "" {
			flags = append(flags, "--max-header-size="+flag)
		}
		config := build(t, flags)
		config.has(server+"max_header_bytes", want[1])
		config.has(server+"routes", strings.ReplaceAll(handler, "%LIMIT", want[0]))
	}
	for _, bad := range []string{"0", "1000", "17MiB", "-1", "much"} {
		if _, err := run.Config(append(runFlags(t), "--max-header-size="+bad)...); err == nil || !strings.Contains(err.Error(), "max-header-size") {
			t.Errorf("--max-header-size=%s: %v", bad, err)
		}
	}
}

// What a file says of servers is said of parachute's, whether the file has sites or not.
func TestServerOptionsApplyWithoutSites(t *testing.T) {
	built := func(t *testing.T, text string, more ...string) builtConfig {
		t.Helper()
		return build(t, append(withFile(t, "Caddyfile", text), more...))
	}
	const options = `
			max_header_size 128KiB
			strict_sni_host insecure_off
			trusted_proxies static 10.0.0.0/8
			timeouts {
				idle 3m
			}`
	const ours = `[{"handle": [{"handler": "parachute", "client_timeout": "1m0s", "max_header_size": 131072}]}]`
	for name, text := range map[string]string{
		"no site":      "{\n\tservers {" + options + "\n\t}\n}\n",
		"another port": "{\n\tservers {" + options + "\n\t}\n}\n:9000 {\n\trespond ok\n}\n",
		"ports":        "{\n\thttp_port 8080\n\thttps_port 8443\n\tservers {" + options + "\n\t}\n}\n",
		"addresses":    "{\n\tservers :80 {" + options + "\n\t}\n\tservers :443 {" + options + "\n\t}\n}\n",
		"no newline":   "{\n\tservers {" + options + "\n\t}\n}",
	} {
		t.Run(name, func(t *testing.T) {
			c := built(t, text, "--trusted-proxies=192.168.0.0/16", "--access-log")
			for _, server := range []string{httpAt, httpsAt} {
				c.has(server+"/max_header_bytes", `1048576`)
				c.has(server+"/routes", ours)
				c.has(server+"/strict_sni_host", `false`)
				c.has(server+"/trusted_proxies/trusted/ranges", `["10.0.0.0/8"]`)
				c.has(server+"/trusted_proxies_strict", `null`)
				c.has(server+"/idle_timeout", `180000000000`)
				c.has(server+"/logs", `{}`)
				c.has(server+"/automatic_https", `{"disable": true}`)
			}
			c.has(httpAt+"/listen", `["parachute/:8080"]`)
			c.has(httpsAt+"/listen", `["parachute/:8443"]`)
			c.has(httpAt+"/protocols", `["h1","h2c"]`)
		})
	}
	c := built(t, "{\n\tservers :443 {"+options+"\n\t\tlog_credentials\n\t}\n}\n")
	c.has(httpAt+"/strict_sni_host", `null`)
	c.has(httpsAt+"/strict_sni_host", `false`)
	c.has(httpsAt+"/logs", `null`) // there is no --access-log
	c = built(t, "{\n\tservers {"+options+"\n\t}\n}\nhttp://a.test {\n\trespond ok\n}\n")
	c.has("apps/http/servers/srv0/max_header_bytes", `131072`)
	c.has(httpAt, `null`)
	c.has(httpsAt+"/routes", ours)
	// A list of the names that are expected is for Caddy to heed.
	c = built(t, "{\n\tservers {\n\t\texpected_underscore_headers client_id\n\t}\n}\n", "--trusted-proxies=10.0.0.0/8")
	c.has(httpAt+"/expected_underscore_headers", `["client_id"]`)
	c.has(httpAt+"/trusted_proxies/source", `"static"`)
	// What shares a listener with sites leaves them what they had.
	c = built(t, "http://a.test {\n\trespond ok\n}\n", "--trusted-proxies=10.0.0.0/8")
	c.has("apps/http/servers/srv0/trusted_proxies/source", `"static"`)
	built(t, ":9000\nrespond ok") // a site without braces takes everything behind it for its own
}

// What a site listens on is as the process can keep it, and what wraps its listener stays.
func TestEveryServerSharesItsSockets(t *testing.T) {
	t.Setenv("TEST_HOST", "127.0.0.1")
	c := build(t, withFile(t, "caddy.json", `{"apps": {"http": {"servers": {
		"mine": {"listen": [":9000", "127.0.0.1:9001-9003", "tcp4/:9004", "unix//run/site.sock|0660", "{env.TEST_HOST}:9005"],
			"listener_wrappers": [{"wrapper": "http_redirect"}, {"wrapper": "tls"}], "routes": [{"handle": [{"handler": "static_response"}]}]},
		"silent": {"routes": [{"handle": [{"handler": "static_response"}]}]}
	}}}}`))
	c.has("apps/http/servers/mine/listen", `["parachute/:9000", "parachute/127.0.0.1:9001-9003", "parachute4/:9004", "unix+parachute//run/site.sock|0660", "parachute/{env.TEST_HOST}:9005"]`)
	c.has("apps/http/servers/mine/listener_wrappers", `[{"wrapper": "http_redirect"}, {"wrapper": "tls"}, {"wrapper": "parachute_front"}]`)
	c.has("apps/http/servers/silent/listen", `null`)
}

// HTTP/3 is left to Caddy where nothing else is served: the front would not see the address.
func TestAddressesForHTTP3AloneStayCaddys(t *testing.T) {
	c := build(t, withFile(t, "caddy.json", `{"apps": {"http": {"servers": {
		"alone": {"listen": [":9000"], "protocols": ["h3"], "tls_connection_policies": [{}], "routes": [{"handle": [{"handler": "static_response"}]}]},
		"some": {"listen": [":9001", "parachute/:9002", ":9003"], "listen_protocols": [["h1", "h3"], ["h3"], null],
			"tls_connection_policies": [{}], "routes": [{"handle": [{"handler": "static_response"}]}]}
	}}}}`))
	c.has("apps/http/servers/alone/listen", `[":9000"]`)
	c.has("apps/http/servers/some/listen", `["parachute/:9001", ":9002", "parachute/:9003"]`)
}
