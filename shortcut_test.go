package parachute

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/parachute-proxy/parachute/internal/run"
)

// httpServerOf returns the server for plain HTTP in a config of run.
func httpServerOf(config map[string]any) map[string]any {
	servers := config["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)
	return servers["parachute_http"].(map[string]any)
}

// provisionHTTP has Caddy make the HTTP app of run, after change has been made to its
// config.
func provisionHTTP(t *testing.T, flags []string, change func(config map[string]any)) *caddyhttp.App {
	t.Helper()
	b, err := run.Config(append([]string{"--storage=" + t.TempDir(), "--http-port=8080", "--https-port=8443"}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	change(config)
	if b, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	var c caddy.Config
	if err := json.Unmarshal(b, &c); err != nil {
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

// ourHandler returns the handler of the first route that is ours.
func ourHandler(t *testing.T, server *caddyhttp.Server) *Handler {
	t.Helper()
	for _, route := range server.Routes {
		for _, handler := range route.Handlers {
			if h, ok := handler.(*Handler); ok {
				return h
			}
		}
	}
	t.Fatal("the server has no handler of ours")
	return nil
}

func TestShortcutIsOnlyTakenWhereNothingIsLeftOut(t *testing.T) {
	set := func(key string, value any) func(map[string]any) {
		return func(config map[string]any) { httpServerOf(config)[key] = value }
	}
	static := map[string]any{"handler": "static_response"}
	for name, tt := range map[string]struct {
		flags  []string
		config func(map[string]any)
		taken  bool
	}{
		"run":             {taken: true},
		"trusted proxies": {flags: []string{"--trusted-proxies=10.0.0.0/8"}, taken: true},
		"access log":      {flags: []string{"--access-log"}},
		"metrics":         {flags: []string{"--metrics-port=9090"}},

		"longer idle timeout":  {config: set("idle_timeout", "10m"), taken: true},
		"whole timeouts":       {config: set("write_timeout", "10m"), taken: true},
		"read idle timeout":    {config: set("read_idle_timeout", "1m")},
		"write idle timeout":   {config: set("write_idle_timeout", "1m")},
		"underscores":          {config: set("expected_underscore_headers", []string{"Client_Id"})},
		"dots":                 {config: set("expected_dot_headers", []string{"Client.Id"})},
		"full duplex":          {config: set("enable_full_duplex", true)},
		"strict host":          {config: set("strict_sni_host", true)},
		"error routes":         {config: set("errors", map[string]any{"routes": []any{map[string]any{"handle": []any{static}}}})},
		"named routes":         {config: set("named_routes", map[string]any{"a": map[string]any{"handle": []any{static}}})},
		"metrics of a server":  {config: set("metrics", map[string]any{})},
		"another route":        {config: set("routes", []any{map[string]any{"handle": []any{static}}, map[string]any{"handle": []any{map[string]any{"handler": "parachute"}}}})},
		"route for some":       {config: set("routes", []any{map[string]any{"match": []any{map[string]any{"host": []any{"a.test"}}}, "handle": []any{map[string]any{"handler": "parachute"}}}})},
		"handler before ours":  {config: set("routes", []any{map[string]any{"handle": []any{map[string]any{"handler": "headers"}, map[string]any{"handler": "parachute"}}}})},
		"requests passed thru": {config: set("routes", []any{map[string]any{"handle": []any{map[string]any{"handler": "parachute", "pass_thru": true}}}})},
	} {
		t.Run(name, func(t *testing.T) {
			server := provisionHTTP(t, tt.flags, func(config map[string]any) {
				if tt.config != nil {
					tt.config(config)
				}
			}).Servers["parachute_http"]
			if taken := ourHandler(t, server).isAllOf(server); taken != tt.taken {
				t.Errorf("is the shortcut taken? %v", taken)
			}
		})
	}
}

// The first request of each connection is Caddy's, and so are those that Caddy would not
// hand to its routes as they are.
func TestShortcutIsForOrdinaryRequestsFromTheSecondOn(t *testing.T) {
	app := provisionHTTP(t, []string{"--bind=127.0.0.1", "--https-port=0"}, func(config map[string]any) {
		httpServerOf(config)["listen"] = []any{"127.0.0.1:0"}
	})
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Stop() })
	server := app.Servers["parachute_http"]
	address := "http://" + server.Listeners()[0].Addr().String()

	for name, set := range map[string]func(*http.Protocols, bool){"h1": (*http.Protocols).SetHTTP1, "h2": (*http.Protocols).SetUnencryptedHTTP2} {
		only := new(http.Protocols)
		set(only, true)
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{Protocols: only}, Timeout: connTimeout}
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
			shortcut := ourHandler(t, server).shortcut
			before := shortcut.whole
			shortcut.whole = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				whole.Add(1)
				before.ServeHTTP(w, r)
			})
			defer func() { shortcut.whole = before }()
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
					t.Errorf("%s: %d requests went the whole way instead of %d", what, n, tt.whole)
				}
				if resp.Header.Get("Server") != first.Header.Get("Server") {
					t.Errorf("%s: the answer is by %q", what, resp.Header.Get("Server"))
				}
			}
			whole.Store(0)
			known := shortcut.introductions[0].Load()
			known.since = known.since.Add(-time.Minute)
			ask(ordinary)
			ask(ordinary)
			if n := whole.Load(); n != 1 {
				t.Errorf("after a minute, %d requests went the whole way instead of 1", n)
			}
			client.CloseIdleConnections()
			whole.Store(0)
			ask(ordinary)
			if whole.Load() != 1 {
				t.Error("the first request of a connection did not go the whole way")
			}
		})
	}
}
