package handlers

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// newHost returns a host for an empty config.
func newHost(t testing.TB, allow Allow) *Host {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return NewHost(ctx, allow, zap.NewNop())
}

func adapt(h *Host, with string) (json.RawMessage, error) {
	return h.Adapt("web", &api.Options{With: with})
}

// newChain returns the chain of directives that have to be allowed.
func newChain(t testing.TB, h *Host, with string) proxy.Chain {
	t.Helper()
	adapted, err := adapt(h, with)
	if err != nil {
		t.Fatalf("%s: %v", with, err)
	}
	c, err := h.Compile("web", adapted)
	if err != nil {
		t.Fatalf("%s: %v", with, err)
	}
	t.Cleanup(c.Close)
	return c
}

// pass has a request pass a chain in front of app.
func pass(c proxy.Chain, r *http.Request, app func(http.ResponseWriter, *http.Request) error) (*httptest.ResponseRecorder, error) {
	return passTo(c, httptest.NewRecorder(), r, app)
}

// passTo is pass with a writer.
func passTo[W http.ResponseWriter](c proxy.Chain, w W, r *http.Request, app func(http.ResponseWriter, *http.Request) error) (W, error) {
	v := &proxy.Visit{
		Record:   &forward.Record{Service: "web", Release: 7},
		Next:     app,
		Answered: func() bool { return false },
	}
	if r.Context().Value(caddy.ReplacerCtxKey) == nil {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server)) // as Caddy's server does
	}
	err := c.ServeHTTP(w, r, v)
	return w, err
}

func TestDirectivesAreDoneInTheirOrder(t *testing.T) {
	c := newChain(t, newHost(t, Safe), `
@api path /api/*
header @api X-Api "{parachute.service} v{parachute.release} {host}"
respond /early "early" 201
rewrite /api/* /v2{uri}
request_header X-Told {path}
handle /api/refused {
	error "no" 403
}
handle_errors 403 {
	respond @api "sorry: {err.message}" 410
}`)
	app := func(w http.ResponseWriter, r *http.Request) error {
		_, err := fmt.Fprintf(w, "%s %s %s", r.RequestURI, r.URL.Path, r.Header.Get("X-Told"))
		return err
	}
	for _, tt := range []struct {
		path   string
		status int
		body   string
	}{
		{"/early", 201, "early"},
		{"/other?a=b", 200, "/other?a=b /other /other"},
		{"/api/x?a=b", 200, "/v2/api/x?a=b /v2/api/x /v2/api/x"},
	} {
		w, err := pass(c, httptest.NewRequest("GET", tt.path, nil), app)
		if err != nil || w.Code != tt.status || w.Body.String() != tt.body {
			t.Errorf("%s: %d %q (%v), want %d %q", tt.path, w.Code, w.Body, err, tt.status, tt.body)
		}
		if got := w.Header().Get("X-Api"); strings.HasPrefix(tt.path, "/api") != (got == "web v7 example.com") {
			t.Errorf("%s: X-Api is %q", tt.path, got)
		}
	}
}

// TestErrorsOfDirectivesAndOfTheProxyAreHandled by handle_errors, and otherwise by the proxy.
func TestErrorsOfDirectivesAndOfTheProxyAreHandled(t *testing.T) {
	h := newHost(t, Safe)
	handled := newChain(t, h, "error /no \"no\" 403\nhandle_errors 5xx 403 {\n\trespond \"{err.status_code} {uri}\"\n}\nrewrite * /changed")
	plain := newChain(t, h, "error /no \"no\" 403")
	away := func(http.ResponseWriter, *http.Request) error { return forward.ErrTimeout }
	gone := func(http.ResponseWriter, *http.Request) error { return proxy.ErrNoRoute }
	for _, tt := range []struct {
		chain proxy.Chain
		path  string
		app   func(http.ResponseWriter, *http.Request) error
		body  string
		err   error
	}{
		{handled, "/no", away, "403 /no", nil},
		{handled, "/x", away, "504 /x", nil},
		{handled, "/x", gone, "", proxy.ErrNoRoute}, // which is a 404
		{plain, "/x", away, "", forward.ErrTimeout},
	} {
		w, err := pass(tt.chain, httptest.NewRequest("GET", tt.path, nil), tt.app)
		if !errors.Is(err, tt.err) || w.Body.String() != tt.body {
			t.Errorf("%s: %q (%v), want %q (%v)", tt.path, w.Body, err, tt.body, tt.err)
		}
	}
	_, err := pass(plain, httptest.NewRequest("GET", "/no", nil), away)
	if refusal, ok := errors.AsType[*proxy.HandlerError](err); !ok || refusal.Status != 403 || proxy.StatusOf(err) != 403 {
		t.Errorf("an error of a handler is %v", err)
	}
}

// TestWrongDirectivesAreExplainedWithTheirLine as the person who wrote them counts.
func TestWrongDirectivesAreExplainedWithTheirLine(t *testing.T) {
	h := newHost(t, All)
	for with, want := range map[string]string{
		"nonsense": "line 1: unrecognized directive: nonsense",
		"\n# a comment\nencode gzip\nnonsense here\n":              "line 4: unrecognized directive: nonsense",
		"encode gzip\nencode nope":                                 "line 2: this program has no encoder nope, but gzip, zstd",
		"handle /x {\n\thandle /y {\n\t\tnonsense\n\t}\n}\nencode": "line 3: unrecognized directive: nonsense",
		"encode\nuri {\n\tnonsense\n}":                             "line 2: ",
		"encode\n\nbasic_auth {\n\tbob nohash\n}":                  "line 4: what is behind the name \"bob\" is no hash by bcrypt or argon2id; make one by ",
		"encode\n@a path_regexp (\nrespond @a hi":                  "line 3: ",
		"respond \"a\nb\nc\"\nnonsense":                            "line 4: unrecognized directive: nonsense",
		"respond <<END\n\ta\n\tEND\nnonsense":                      "line 4: unrecognized directive: nonsense",
		"handle_errors {\n\tnonsense\n}":                           "line 2: unrecognized directive: nonsense",
		"header X-A {\n":                                           "line 1: this brace is not closed",
		"encode\n}\nevil.example {\n\trespond hi":                  "line 2: this brace closes nothing",
		"respond hi\nrespond @a hi":                                "line 2: ",
		"encode\nbind 1.2.3.4":                                     "line 2: the directive bind is for whole sites",
		"tls internal":                                             "line 1: the directive tls is for whole sites",
		"log":                                                      "line 1: the directive log is for whole sites",
		"encode\nimport /etc/passwd":                               "line 2: import is not for services",
		"handle {\n\timport /etc/passwd\n}":                        "line 2: import is not for services",
		"respond {$HOME}":                                          "line 1: {$...} stands for a variable",
		"{\n\tdebug\n}\nencode":                                    "line 1: an opening brace",
		"(snippet) {\n\tencode\n}":                                 "line 1: unrecognized directive: (snippet)",
		"&(route) {\n\tencode\n}":                                  "line 1: unrecognized directive: &(route)",
		"invoke route":                                             "line 1: cannot invoke named route",
		"encode\nrespond /x \"hi\" abc":                            "line 2: \"abc\" is not a status of HTTP",
		"handle {\n\terror hi 42\n}":                               "line 1: 42 is not a status of HTTP",
		"encode\nheader content-length 3":                          "line 2: the proxy itself sets the field Content-Length",
		"header {\n\tX-A b\n\t>Connection close\n}":                "line 1: the proxy itself sets the field Connection",
		"# mine\na.localhost {\n\tencode\n}":                       "line 2: a.localhost is the address of a site: write only what is inside its block",
		"localhost, :80 {\n\tencode\n}":                            "line 1: localhost, is the address of a site",
		"# nothing":                                                "line 1: there is no directive",
	} {
		_, err := adapt(h, with)
		wanted := "`with`, " + want
		if api.ErrorCode(err) != api.CodeInvalid || !strings.HasPrefix(err.Error(), wanted) {
			t.Errorf("%q:\n%v, want\n%s", with, err, wanted)
			continue
		}
		if strings.ContainsFunc(err.Error(), api.IsControl) || strings.Contains(err.Error(), "with:") {
			t.Errorf("%q: %q", with, err)
		}
	}
}

// TestSmallTextsCostLittle, also if the last of many directives is wrong.
func TestSmallTextsCostLittle(t *testing.T) {
	h := newHost(t, Safe)
	for with, want := range map[string]string{
		strings.Repeat("handle {\n", 33) + strings.Repeat("}\n", 33):                        "line 33: there can be at most 32 braces within each other",
		strings.Repeat("encode\n", 2001):                                                    "line 2001: there can be at most 2000 lines",
		"handle {\n" + strings.Repeat("header a b\n", 2000) + "}":                           "line 2001: there can be at most 2000 lines",
		strings.Repeat("header a b\n", 1999) + "nonsense":                                   "line 2000: unrecognized directive: nonsense",
		strings.Repeat("header a b\n", 1000) + "nope\n" + strings.Repeat("method A\n", 999): "line 1001: unrecognized directive: nope",
		"encode\nhandle_errors {\n\tencode\n}\nhandle_errors {\n\tencode nope\n}\nmethod A": "line 6: this program has no encoder nope",
		"encode\nmap {host} {a} {\n\tdefault b\n}\nmap {a} {c} {\n\tdefault d\n}\nmethod A": "line 5: a map uses the placeholder {a}",
	} {
		began := time.Now()
		if _, err := adapt(h, with); api.ErrorCode(err) != api.CodeInvalid || !strings.HasPrefix(err.Error(), "`with`, "+want) {
			t.Errorf("%.40q: %.200v, want %s", with, err, want)
		}
		t.Logf("%.40q took %v", with, time.Since(began))
	}
	var values strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&values, "\t/%d /to/%d\n", i, i)
	}
	for _, with := range []string{strings.Repeat("header a b\n", 2000), strings.Repeat("handle {\n", 32) + "encode\n" + strings.Repeat("}\n", 32), "map {path} {to} {\n" + values.String() + "}"} {
		if _, err := adapt(h, with); err != nil {
			t.Errorf("%.40q: %v", with, err)
		}
	}
}

// safe are directives that services may have if the operator has said nothing.
var safe = []string{
	"encode zstd gzip",
	"encode {\n\tminimum_length 256\n\tmatch {\n\t\theader Content-Type text/*\n\t}\n}",
	"header {\n\t-Server\n\tStrict-Transport-Security max-age=31536000\n\tdefer\n}",
	"basic_auth /admin/* {\n\tbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}",
	"forward_auth 127.0.0.1:9091 {\n\turi /api/authz/forward-auth\n\tcopy_headers Remote-User Remote-Groups\n}",
	"forward_auth https://auth.example.com {\n\turi /check\n\theader_up Host {upstream_hostport}\n}",
	"@denied not remote_ip private_ranges\nabort @denied",
	"@denied not client_ip 192.0.2.0/24 2001:db8::/32\nrespond @denied 403",
	"uri strip_prefix /app\nuri replace /a /b\nmethod POST\nrewrite /x /y",
	"redir https://example.com{uri} permanent",
	"request_body {\n\tmax_size 10MB\n}",
	"map {host} {tenant} {\n\ta.example.com a\n\tdefault none\n}\nrequest_header X-Tenant {tenant}",
	"vars greeting hello\n@hello vars {greeting} hello\nrespond @hello hi",
	"handle_path /a/* {\n\trespond a\n}\nhandle {\n\terror 404\n}\nhandle_errors {\n\trespond {err.status_text}\n}",
	"handle_errors 4xx 502 {\n\trespond sorry\n}",
	"tracing {\n\tspan {parachute.service}\n}",
	"route {\n\tencode\n}",
	"@a {\n\tpath /x\n\theader_regexp a X-A ^b\n\tquery a=b\n\tprotocol https\n\tmethod GET\n\thost a.test\n}\nrespond @a {re.a.0}",
	"respond {file.base}", // of the path
	"map {host} {env} {\n\tdefault test\n}\nrespond {env}",
}

// unsafe are directives that need --allow-handlers all.
var unsafe = []string{
	"reverse_proxy 127.0.0.1:1",
	"reverse_proxy 127.0.0.1:1 {\n\tmethod GET\n}",
	"reverse_proxy 127.0.0.1:1 {\n\tmethod GET\n\thandle_response {\n\t\trespond hi\n\t}\n}",
	"handle /x {\n\treverse_proxy 127.0.0.1:1\n}",
	"forward_auth 127.0.0.1:1 {\n\turi /x\n\ttransport http {\n\t\ttls_client_auth /etc/c.pem /etc/k.pem\n\t}\n}",
	"forward_auth 127.0.0.1:1 {\n\turi /x\n\ttransport http {\n\t\ttls_trust_pool file /etc/c.pem\n\t}\n}",
	"forward_auth 127.0.0.1:1 {\n\turi /x\n\ttransport http {\n\t\tforward_proxy_url http://127.0.0.1:2\n\t}\n}",
	"forward_auth {\n\turi /x\n\tdynamic a example.com 80\n}",
	"forward_auth 127.0.0.1:1 {\n\turi /x\n\thandle_response {\n\t\tfile_server\n\t}\n}",
	"forward_auth unix//run/auth.sock {\n\turi /check\n}",
	"forward_auth unix+h2c//run/auth.sock {\n\turi /check\n}",
	"forward_auth {http.request.header.To} {\n\turi /check\n}",
	"forward_auth {query.to}:80 {\n\turi /check\n}",
	"forward_auth 127.0.0.1:1 {\n\turi /x\n\tmethod POST\n}",
	"forward_auth 127.0.0.1:1 {\n\turi /x\n\thandle_response {\n\t\trespond hi\n\t}\n}",
	"forward_auth 127.0.0.1:1 {\n\turi /x\n\t@ok status 2xx\n\treplace_status @ok 200\n}",
	"reverse_proxy unix//run/admin.sock {\n\tmethod GET\n\trewrite /config/\n\theader_up Host x\n\t@ok status 2xx\n\treplace_status @ok 200\n}",
	"reverse_proxy 127.0.0.1:1 {\n\tmethod GET\n\t@ok status 2xx\n\treplace_status @ok 200\n}",
	"reverse_proxy 127.0.0.1:1 {\n\tmethod GET\n\t@ok {\n\t\tstatus 2xx\n\t\theader X-Nope *\n\t}\n\thandle_response @ok {\n\t\tvars a b\n\t}\n}",
	"reverse_proxy 127.0.0.1:1 {\n\tmethod GET\n\t@ok status 2xx\n\thandle_response @ok {\n\t\trespond {http.reverse_proxy.header.Etag}\n\t}\n}",
	"reverse_proxy 127.0.0.1:1 {\n\tmethod GET\n\t@ok status 200\n\thandle_response @ok {\n\t\tvars a b\n\t}\n}",
	"reverse_proxy 127.0.0.1:1 {\n\tmethod GET\n\t@ok status 2xx\n\thandle_response @ok {\n\t}\n}",
	"file_server",
	"root * /etc\nfile_server browse",
	"handle_errors {\n\troot * /etc\n\tfile_server\n}",
	"handle {\n\thandle {\n\t\tfile_server\n\t}\n}",
	"templates",
	"try_files /a /b",
	"php_fastcgi 127.0.0.1:9000",
	"respond {env.HOME}",
	"respond \"a {env.HOME:x} b\"",
	"respond {file./etc/passwd}",
	"header X-A {env.HOME}",
	"respond {system.hostname}",
	"respond {system.wd}",
	"map {query.a} {a} {\n\t~(.*) {env$1\n}\nrespond {a}",
	"map {query.a} {a} {\n\t~(.*) {file$1\n}\nrespond {a}",
	"map {query.a} {a} {\n\tdefault {system\n}\nrespond {a}",
	"log_skip /up",
	"log_name other",
	"vars client_ip 127.0.0.1",
	"vars trusted_proxy true",
	"vars {query.a} true",
	"vars {\n\ta b\n\tstart_time now\n}",
	"handle_errors {\n\tvars http.auth.user.id root\n}",
	"respond {http.request.body}",
	"respond {http.request.body_base64}",
	"header {env.HOME} a",
	"@a vars {env.HOME} /root\nrespond @a hi",
	"map {env.HOME} {a} {\n\tdefault b\n}",
	"request_body {\n\tset {file./etc/passwd}\n}",
	"@a expression {env.HOME}.startsWith('/')\nrespond @a hi",
	"@a `{http.request.header.A} == 'a'`\nrespond @a hi",
	"@a expression `ph(req, 'en'+'v.HOME') == '/root'`\nrespond @a hi",
	"@a file /etc/passwd\nrespond @a hi",
	"@a not file /etc/passwd\nrespond @a hi",
	"metrics",
	"push /a",
	"log_append a b",
	"intercept {\n\treplace_status 200\n}",
	"acme_server",
}

// TestServicesNeedNoReverseProxy, which everybody writes who has had a Caddyfile.
func TestServicesNeedNoReverseProxy(t *testing.T) {
	h := newHost(t, Safe)
	for _, with := range []string{"reverse_proxy 127.0.0.1:1", "handle {\n\treverse_proxy web:1 {\n\t\tlb_policy first\n\t}\n}"} {
		if _, err := adapt(h, with); api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "line 1: leave reverse_proxy out: ") {
			t.Errorf("%q: %v", with, err)
		}
	}
	if _, err := adapt(newHost(t, All), "reverse_proxy 127.0.0.1:1"); err != nil {
		t.Errorf("where all is allowed: %v", err)
	}
}

func TestOnlySafeHandlersAreAllowedByDefault(t *testing.T) {
	h, none := newHost(t, Safe), newHost(t, None)
	for _, with := range safe {
		if _, err := adapt(h, with); err != nil {
			t.Errorf("%q is refused: %v", with, err)
		}
		if _, err := adapt(none, with); api.ErrorCode(err) != api.CodeInvalid {
			t.Errorf("%q is allowed where nothing is: %v", with, err)
		}
	}
	for _, with := range unsafe {
		_, err := adapt(h, with)
		if api.ErrorCode(err) != api.CodeInvalid {
			t.Errorf("%q is allowed (%v)", with, err)
		}
		t.Logf("%q: %v", with, err)
	}
}

// TestHashesOfDirectivesAreBounded when they are deployed, and when they were stored before.
func TestHashesOfDirectivesAreBounded(t *testing.T) {
	for _, hash := range []string{
		"$2a$31$yR6tWXCi16GOg2Qpx3UGKuv1l94Ck9Q4JJGEs9p9BY5cfirFnXJ3C",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5", "$argon2id$v=19$m=1,t=0,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5",
		base64.StdEncoding.EncodeToString([]byte("$argon2id$v=19$m=1,t=1,p=0$c2FsdHNhbHQ$a2V5a2V5a2V5")),
	} {
		for _, allow := range []Allow{Safe, All} {
			h := newHost(t, allow)
			with := "handle /x {\n\tbasic_auth argon2id {\n\t\tada " + hash + "\n\t}\n}"
			if _, err := adapt(h, with); api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "line 3: what is behind the name \"ada\" is a hash by") {
				t.Errorf("%s: %s: %v", allow, hash, err)
			}
			stored := `{"routes":[{"handle":[{"handler":"authentication","providers":{"http_basic":{"accounts":[{"username":"ada","password":"` + hash + `"}]}}}]}]}`
			if c, err := h.Compile("web", json.RawMessage(stored)); err == nil {
				c.Close()
				t.Errorf("%s: %s is compiled", allow, hash)
			}
		}
	}
}

// TestMapsThatCouldHaveNoEndAreRefused, whatever is allowed: they would end the process.
func TestMapsThatCouldHaveNoEndAreRefused(t *testing.T) {
	for _, allow := range []Allow{Safe, All} {
		h := newHost(t, allow)
		for _, with := range []string{
			"map {loop} {loop} {\n\tdefault a\n}\nrespond {loop}",
			"map {host} {loop} {\n\tdefault {loop}\n}\nrespond {loop}",
			"map {host} {loop} {\n\ta {loop}\n}\nrespond {loop}",
			"map {host} {a} {\n\tdefault {b}\n}\nmap {host} {b} {\n\tdefault {a}\n}\nrespond {a}",
			"map {host} {a} {\n\tdefault x\n}\nmap {host} {b} {\n\tdefault {a}{a}\n}\nrespond {b}",
			"handle /x {\n\tmap {b} {a} {\n\t\tdefault x\n\t}\n}\nhandle_errors {\n\tmap {a} {b} {\n\t\tdefault x\n\t}\n\trespond {b}\n}",
		} {
			if _, err := adapt(h, with); api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "could have no end") {
				t.Errorf("%s: %q: %v", allow, with, err)
			}
		}
	}
}

// TestWhatIsStoredIsCheckedAgain: a document may have been edited, or what is allowed be less
// than it was.
func TestWhatIsStoredIsCheckedAgain(t *testing.T) {
	all, safeHost := newHost(t, All), newHost(t, Safe)
	adapted, err := adapt(all, "respond {env.HOME}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := safeHost.Compile("web", adapted); err == nil || !strings.Contains(err.Error(), "{env.NAME}") {
		t.Errorf("compiled where it is not allowed: %v", err)
	}
	for options, refused := range map[*api.Options]bool{{With: "encode"}: true, {With: "encode", Compress: true}: true, {Compress: true}: false} {
		adapted, err := safeHost.Adapt("web", options)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newHost(t, None).Compile("web", adapted)
		if (err != nil) != refused {
			t.Errorf("%+v where no directives are allowed: %v", options, err)
		}
		if err == nil {
			c.Close()
		}
	}
	for _, odd := range []string{
		`{"routes":{}}`, `{"routes":[1]}`, `{"routes":[{"handle":[1]}]}`, `{"routes":[{"match":{}}]}`, `{"routes":[{"handle":[{"handler":"subroute","routes":"x"}]}]}`,
		`{"routes":[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"file_server"}]}]}]}]}`,
		`{"routes":[{"handle":[{"handler":"subroute","errors":{"routes":[{"handle":[{"handler":"file_server"}]}]}}]}]}`,
		`{"errors":[{"handle":[{"handler":"file_server"}]}]}`, `[]`, `{`,
		`null`, `{}`, `{"caddy":"v2"}`, `{"routes":null}`, `{"routes":[ ],"errors":[]}`, `{"routes":[{"handle":[{"handler":"vars"}]}],"guards":[]}`,
		`{"Routes":[{"handel":[]}]}`,
	} {
		if c, err := safeHost.Compile("web", json.RawMessage(odd)); err == nil {
			c.Close()
			t.Errorf("%s is compiled", odd)
		}
	}
}

// FuzzDirectives: whatever is written, it stays within the handlers that are allowed.
func FuzzDirectives(f *testing.F) {
	for _, with := range append(append([]string{"} {", "{ }\n}", "a \"}\"\n}", "`{`", "<<X\n}\nX\n}"}, safe...), unsafe...) {
		f.Add(with)
	}
	f.Fuzz(func(t *testing.T, with string) {
		s, err := parseSnippet(with)
		if err != nil {
			return
		}
		h := &Host{allow: Safe}
		a, err := h.adapt("web", s)
		if err != nil {
			return
		}
		for _, bad := range []string{`"file_server"`, `"templates"`, `{env.`, `{file.`, `"invoke"`, `"parachute"`} {
			if strings.Contains(string(a.Routes)+string(a.Errors), `"handler":`+bad) || bad[0] == '{' && strings.Contains(string(a.Routes)+string(a.Errors), bad) {
				t.Fatalf("%q becomes %s", with, a.Routes)
			}
		}
	})
}

// life is a handler that lives until it is cleaned up.
type life struct{ done chan struct{} }

var alive atomic.Int64

func init() { caddy.RegisterModule(life{}) }

func (life) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.life_of_test", New: func() caddy.Module { return new(life) }}
}

func (l *life) Provision(caddy.Context) error {
	l.done = make(chan struct{})
	alive.Add(1)
	go func() { <-l.done }()
	return nil
}

func (l *life) Cleanup() error {
	alive.Add(-1)
	close(l.done)
	return nil
}

func (l *life) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// TestModulesAreCleanedUp also if one beside them cannot be made.
func TestModulesAreCleanedUp(t *testing.T) {
	h := newHost(t, All)
	good := json.RawMessage(`{"routes":[{"handle":[{"handler":"life_of_test"}]}],"errors":[{"handle":[{"handler":"life_of_test"}]}]}`)
	c, err := h.Compile("web", good)
	if err != nil || alive.Load() != 2 {
		t.Fatalf("%d are alive (%v)", alive.Load(), err)
	}
	for _, bad := range []string{
		`{"routes":[{"handle":[{"handler":"life_of_test"},{"handler":"encode","encodings":{"nope":{}}}]}]}`,
		`{"routes":[{"handle":[{"handler":"life_of_test"}]}],"errors":[{"handle":[{"handler":"nope"}]}]}`,
	} {
		if _, err := h.Compile("web", json.RawMessage(bad)); err == nil || alive.Load() != 2 {
			t.Errorf("%s: %d are alive (%v)", bad, alive.Load(), err)
		}
	}
	c.Close()
	if alive.Load() != 0 {
		t.Errorf("%d are alive at the end", alive.Load())
	}
}

// fragile is a handler that panics when it is cleaned up, or when its directive is read.
type fragile struct{}

func init() {
	caddy.RegisterModule(fragile{})
	httpcaddyfile.RegisterDirective("fragile_of_test", func(httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) { panic("read") })
}

func (fragile) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.fragile_of_test", New: func() caddy.Module { return new(fragile) }}
}

func (fragile) Cleanup() error { panic("cleaned up") }

func (fragile) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// TestPanicsOfPluginsEndNothing but what they are in.
func TestPanicsOfPluginsEndNothing(t *testing.T) {
	h := newHost(t, All)
	c, err := h.Compile("web", json.RawMessage(`{"routes":[{"handle":[{"handler":"fragile_of_test"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := h.Compile("web", json.RawMessage(`{"routes":[{"handle":[{"handler":"fragile_of_test"},{"handler":"nope"}]}]}`)); err == nil {
		t.Error("a handler that does not exist is made")
	}
	if _, err := adapt(h, "encode\nfragile_of_test"); api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "line 2: a module panicked: read") {
		t.Errorf("a directive that panics: %v", err)
	}
}

// TestNamesThatMeanTheSameDoNotPassForEachOther: to an application that reads Remote_User as
// Remote-User, a client could say what only the gateway may.
func TestNamesThatMeanTheSameDoNotPassForEachOther(t *testing.T) {
	h := newHost(t, Safe)
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	defer auth.Close()
	for with, kept := range map[string]bool{
		"forward_auth " + auth.URL + " {\n\turi /\n\tcopy_headers Remote-User\n}": false,
		"request_header -Remote-User":            false,
		"handle {\n\trequest_header X-Y a\n}":    false,
		"encode\nheader X-A b\nrespond /x hello": true,
	} {
		c := newChain(t, h, with)
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Remote_user"], r.Header["Remote.user"] = []string{"root"}, []string{"root"}
		_, err := pass(c, r, func(_ http.ResponseWriter, r *http.Request) error {
			if got := r.Header["Remote_user"] != nil || r.Header["Remote.user"] != nil; got != kept {
				t.Errorf("%q: the fields are kept: %t", with, got)
			}
			return nil
		})
		if err != nil && with[0] != 'f' {
			t.Errorf("%q: %v", with, err)
		}
	}
}

// TestBodiesThatAreTooLargeAreSaidToBe although it is the proxy that reads them.
func TestBodiesThatAreTooLargeAreSaidToBe(t *testing.T) {
	c := newChain(t, newHost(t, Safe), "request_body {\n\tmax_size 4\n}")
	_, err := pass(c, httptest.NewRequest("POST", "/", strings.NewReader("too much")), func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.ReadAll(r.Body)
		return fmt.Errorf("%w: %w", forward.ErrBadRequest, err)
	})
	if proxy.StatusOf(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("%d: %v", proxy.StatusOf(err), err)
	}
}

// TestGroupsOfASiteDoNotHideThoseOfAService: they have the same names.
func TestGroupsOfASiteDoNotHideThoseOfAService(t *testing.T) {
	c := newChain(t, newHost(t, Safe), "handle /a {\n\trespond a\n}\nhandle {\n\trespond b\n}")
	r := httptest.NewRequest("GET", "/a", nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
	groups := r.Context().Value(routeGroups).(map[string]struct{})
	for i := range 10 {
		groups[fmt.Sprint("group", i)] = struct{}{} // a site has chosen these
	}
	w, err := pass(c, r, func(http.ResponseWriter, *http.Request) error { return errors.New("no route was taken") })
	if err != nil || w.Body.String() != "a" {
		t.Errorf("%q (%v)", w.Body, err)
	}
}

func BenchmarkCompile(b *testing.B) {
	h := newHost(b, Safe)
	adapted, err := adapt(h, "encode\nheader X-A b")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c, err := h.Compile("web", adapted)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
