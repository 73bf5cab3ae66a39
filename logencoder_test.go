package parachute

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logged returns what a logger of kamal-proxy's kind writes.
func logged(t *testing.T, write func(*zap.Logger)) map[string]any {
	t.Helper()
	e := new(KamalProxyEncoder)
	if err := e.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	write(zap.New(zapcore.NewCore(e, zapcore.AddSync(&out), zapcore.DebugLevel)))
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	return line
}

func TestLineOfARequestIsThatOfKamalProxyEvenIfItFailed(t *testing.T) {
	r := httptest.NewRequest("POST", "http://app.test/a%20b?c=d", strings.NewReader("body"))
	line := logged(t, func(l *zap.Logger) {
		l.Named("http.log.access").With(zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r})).
			Error("handled request", zap.Int("status", 502), zap.Int("size", 7), zap.Duration("duration", time.Second), zap.String("user_id", ""), zap.String("own", "kept"))
	})
	for name, want := range map[string]any{
		"level": "INFO", "msg": "Request", "path": "/a b", "query": "c=d", "status": 502.0, "resp_content_length": 7.0, "duration": 1e9,
		"req_content_length": 4.0, "method": "POST", "client_addr": "192.0.2.1", "own": "kept", "request": nil, "logger": nil, "user_id": nil,
	} {
		if line[name] != want {
			t.Errorf("%s is %v, and not %v", name, line[name], want)
		}
	}
}

func TestOtherLinesOfARequestStayAsTheyAre(t *testing.T) {
	r := httptest.NewRequest("GET", "http://app.test/x", nil)
	for _, name := range []string{"http.log.error", "http.log.accessories", "parachute"} {
		line := logged(t, func(l *zap.Logger) {
			l.Named(name).With(zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r})).Warn("odd", zap.Int("status", 500))
		})
		request, _ := line["request"].(map[string]any)
		if line["msg"] != "odd" || line["level"] != "WARN" || line["logger"] != name || line["status"] != 500.0 || request["host"] != "app.test" {
			t.Errorf("%s: %v", name, line)
		}
	}
}
