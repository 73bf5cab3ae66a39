package parachute

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/clientconn"
	"github.com/parachute-proxy/parachute/internal/proxy"
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

func TestFastPathIsOnlyTakenWhereNothingIsLeftOut(t *testing.T) {
	set := func(key string, value any) func(map[string]any) {
		return func(config map[string]any) { httpServerOf(config)[key] = value }
	}
	static := map[string]any{"handler": "static_response"}
	for name, tt := range map[string]struct {
		flags  []string
		config func(map[string]any)
		taken  bool
		// logged says that it is for requests alone that are passed through.
		logged bool
	}{
		"run":             {taken: true},
		"trusted proxies": {flags: []string{"--trusted-proxies=10.0.0.0/8"}, taken: true},
		"access log":      {flags: []string{"--access-log"}, logged: true},
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
			want := clientconn.NotOwned
			switch {
			case tt.taken:
				want = clientconn.Owned
			case tt.logged:
				want = clientconn.OwnedAndLogged
			}
			if got := ourHandler(t, server).owns(server); got != want {
				t.Errorf("the ownership is %d, want %d", got, want)
			}
		})
	}
}

// An operator writes in any language, and a header field has ASCII alone.
func TestMessagesForGRPCClientsAreEncoded(t *testing.T) {
	for message, want := range map[string]string{
		"":                        "parachute: the service is stopped",
		"back at noon":            "parachute: back at noon",
		"zurück um 12":            "parachute: zur%C3%BCck um 12",
		"100% down\nsorry\x7f ~!": "parachute: 100%25 down%0Asorry%7F ~!",
	} {
		r := httptest.NewRequest(http.MethodPost, "/a.B/C", nil)
		r.ProtoMajor, r.ProtoMinor = 2, 0
		r.Header.Set("Content-Type", "application/grpc")
		w := httptest.NewRecorder()
		h := &Handler{logger: zap.NewNop()}
		if err := h.fail(w, r, &proxy.HeldError{Cause: proxy.ErrStopped, Status: http.StatusServiceUnavailable, Message: message}); err != nil {
			t.Fatal(err)
		}
		if got := w.Header().Get("Grpc-Message"); got != want {
			t.Errorf("%q is sent as %q, want %q", message, got, want)
		}
	}
}

// A site's own error page does not take from clients what the proxy has to say.
func TestErrorRoutesKeepWhatIsSaidToClientsOfAHeldService(t *testing.T) {
	routes := caddyhttp.RouteList{{}}
	server := &caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{Routes: routes}}
	for _, c := range []struct {
		err               proxy.HeldError
		retryAfter, wants string
	}{
		{proxy.HeldError{Cause: proxy.ErrQueueFull, Status: 503, RetryAfter: 5 * time.Second}, "5", proxy.ErrQueueFull.Error()},
		{proxy.HeldError{Cause: proxy.ErrStopped, Status: 599, Message: "back at noon"}, "", "back at noon"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, server))
		w := httptest.NewRecorder()
		err, ok := errors.AsType[caddyhttp.HandlerError](new(Handler).fail(w, r, &c.err))
		if !ok || err.StatusCode != c.err.Status || err.Err.Error() != c.wants || !errors.Is(err, c.err.Cause) {
			t.Errorf("%v: the error for the routes is %v", c.err.Cause, err)
		}
		if got := w.Header().Get("Retry-After"); got != c.retryAfter {
			t.Errorf("%v: Retry-After is %q, want %q", c.err.Cause, got, c.retryAfter)
		}
	}
}
