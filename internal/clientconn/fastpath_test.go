package clientconn_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what configs refer to

	_ "github.com/parachute-proxy/parachute" // the modules that the config names
	"github.com/parachute-proxy/parachute/internal/clientconn"
	"github.com/parachute-proxy/parachute/internal/run"
)

// provisionHTTP has Caddy make the HTTP app of run, with a server on a free port.
func provisionHTTP(t *testing.T, flags ...string) *caddyhttp.App {
	t.Helper()
	b, err := run.Config(append(flags, "--edge=off", "--storage="+t.TempDir(), "--bind=127.0.0.1", "--http-port=8080", "--https-port=0")...)
	if err != nil {
		t.Fatal(err)
	}
	var c caddy.Config
	// On a free port, and as in a Caddy whose servers have their connections themselves.
	config := strings.NewReplacer("parachute/127.0.0.1:8080", "127.0.0.1:0", `,{"wrapper":"parachute_front"}`, "").Replace(string(b))
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&c)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*caddyhttp.App)
}

// Caddy serves requests that it would not hand to its routes as they are, and once a minute another
// one.
func TestFastPathIsForOrdinaryRequests(t *testing.T) { testFastPath(t, false) }

// Where a client may be a trusted proxy, Caddy serves the first request of each connection.
func TestFastPathIsForKnownClients(t *testing.T) {
	testFastPath(t, true, "--trusted-proxies=10.0.0.0/8")
}

func testFastPath(t *testing.T, asksForEach bool, flags ...string) {
	app := provisionHTTP(t, flags...)
	server := app.Servers["parachute_http"]
	var std atomic.Pointer[http.Server]
	server.RegisterConnContext(func(ctx context.Context, _ net.Conn) context.Context {
		std.Store(ctx.Value(http.ServerContextKey).(*http.Server))
		return ctx
	})
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Stop() })
	address := "http://" + server.Listeners()[0].Addr().String()

	for name, set := range map[string]func(*http.Protocols, bool){"h1": (*http.Protocols).SetHTTP1, "h2": (*http.Protocols).SetUnencryptedHTTP2} {
		only := new(http.Protocols)
		set(only, true)
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{Protocols: only}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			ask := func(change func(*http.Request)) *http.Response {
				t.Helper()
				req, err := http.NewRequest(http.MethodGet, address+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				change(req)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				return resp
			}
			ordinary := func(*http.Request) {}
			first := ask(ordinary)
			if first.Header.Get("X-Parachute-Error") != "no_route" || first.Header.Get("Server") == "" {
				t.Errorf("the first answer is %s %v", first.Status, first.Header)
			}

			var whole atomic.Int32
			path := std.Load().Handler.(*clientconn.FastPath)
			before := path.CaddyServer()
			path.SetCaddyServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				whole.Add(1)
				before.ServeHTTP(w, r)
			}))
			defer path.SetCaddyServer(before)
			for what, tt := range map[string]struct {
				change func(*http.Request)
				whole  int32
			}{
				"ordinary":         {ordinary, 0},
				"unknown host":     {func(r *http.Request) { r.Host = "a.test" }, 0},
				"underscore":       {func(r *http.Request) { r.Header.Set("Client_Id", "1") }, 1},
				"dot":              {func(r *http.Request) { r.Header.Set("Client.Id", "1") }, 1},
				"dots for a host":  {func(r *http.Request) { r.Host = ".." }, 1},
				"dots in brackets": {func(r *http.Request) { r.Host = "[..]:80" }, 1},
				"very long method": {func(r *http.Request) { r.Method = strings.Repeat("A", 33) }, 1},
				"challenge":        {func(r *http.Request) { r.URL.Path = "/.well-known/acme-challenge/x" }, 1},
				"validation":       {func(r *http.Request) { r.URL.Path = "/.well-known/pki-validation/x" }, 1},
			} {
				whole.Store(0)
				resp := ask(tt.change)
				if n := whole.Load(); n != tt.whole {
					t.Errorf("%s: %d requests were served by Caddy instead of %d", what, n, tt.whole)
				}
				if resp.Header.Get("Server") != first.Header.Get("Server") {
					t.Errorf("%s: the answer is by %q", what, resp.Header.Get("Server"))
				}
			}
			whole.Store(0)
			path.Age(time.Minute)
			ask(ordinary)
			ask(ordinary)
			if n := whole.Load(); n != 1 {
				t.Errorf("after a minute, %d requests were served by Caddy instead of 1", n)
			}
			client.CloseIdleConnections()
			whole.Store(0)
			ask(ordinary)
			if asked := whole.Load() == 1; asked != asksForEach {
				t.Errorf("the first request of a connection was served by Caddy: %t", asked)
			}
		})
	}
}

// A connection can outlive the config that it came by. What Caddy said of its client then may
// no longer be so.
func TestFactsAreThoseOfOneConfig(t *testing.T) {
	_, c := clientconn.Pair(t)
	caddy := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	configs := [2]*clientconn.FastPath{new(clientconn.FastPath), new(clientconn.FastPath)}
	for _, p := range configs {
		p.SetCaddyServer(caddy)
	}
	for i, p := range []*clientconn.FastPath{configs[0], configs[1], configs[0]} {
		if p.Knows(c) {
			t.Errorf("config %d knows the client before Caddy has said anything", i)
		}
		p.Remember(c, httptest.NewRecorder(), true)
		if !p.Knows(c) {
			t.Errorf("config %d does not know the client", i)
		}
	}
}
