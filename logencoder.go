package parachute

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// KamalProxyEncoder writes the log as kamal-proxy does, for programs that read it: JSON with the
// names of Go's log/slog, and a line "Request" for each request. `kamal-proxy run` uses it.
type KamalProxyEncoder struct {
	zapcore.Encoder `json:"-"`
	// request is what the log is about; nil if it is about none.
	request *caddyhttp.LoggableHTTPRequest
}

// CaddyModule returns the Caddy module information.
func (KamalProxyEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.kamal_proxy", New: func() caddy.Module { return new(KamalProxyEncoder) }}
}

// Provision sets up the encoder.
func (e *KamalProxyEncoder) Provision(caddy.Context) error {
	config := zap.NewProductionEncoderConfig()
	config.TimeKey, config.LevelKey, config.MessageKey, config.NameKey = "time", "level", "msg", "logger"
	config.EncodeTime, config.EncodeLevel, config.EncodeDuration = zapcore.RFC3339NanoTimeEncoder, zapcore.CapitalLevelEncoder, zapcore.NanosDurationEncoder
	e.Encoder = zapcore.NewJSONEncoder(config)
	return nil
}

// Clone implements [zapcore.Encoder].
func (e *KamalProxyEncoder) Clone() zapcore.Encoder {
	return &KamalProxyEncoder{Encoder: e.Encoder.Clone(), request: e.request}
}

// AddObject implements [zapcore.ObjectEncoder]. A request is kept: how it is written depends on the
// line that it is in.
func (e *KamalProxyEncoder) AddObject(key string, object zapcore.ObjectMarshaler) error {
	if r, ok := object.(caddyhttp.LoggableHTTPRequest); ok && key == "request" {
		e.request = &r
		return nil
	}
	return e.Encoder.AddObject(key, object)
}

// accessLogger is the name of the logger that tells of each request.
const accessLogger = "http.log.access"

// EncodeEntry implements [zapcore.Encoder].
func (e *KamalProxyEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	switch name, _, _ := strings.Cut(strings.TrimPrefix(entry.LoggerName, accessLogger), "."); {
	case e.request == nil:
		return e.Encoder.EncodeEntry(entry, fields)
	case name == "" && strings.HasPrefix(entry.LoggerName, accessLogger):
		entry.Level, entry.Message, entry.LoggerName = zapcore.InfoLevel, "Request", ""
		return e.Encoder.EncodeEntry(entry, requestFields(e.request.Request, fields))
	}
	encoder := e.Encoder.Clone()
	if err := encoder.AddObject("request", e.request); err != nil {
		return nil, err
	}
	return encoder.EncodeEntry(entry, fields)
}

// requestFields returns the fields of the line of a request as kamal-proxy has them. given are those
// of Caddy's line, of which some have other names there. What kamal-proxy does not know is kept.
func requestFields(r *http.Request, given []zapcore.Field) []zapcore.Field {
	found := zapcore.NewMapObjectEncoder()
	var answer http.Header
	for _, f := range given {
		if h, ok := f.Interface.(caddyhttp.LoggableHTTPHeader); ok {
			answer = h.Header
			continue
		}
		f.AddTo(found)
	}
	take := func(key string) any {
		v := found.Fields[key]
		delete(found.Fields, key)
		return v
	}
	word := func(key string) string {
		s, _ := take(key).(string)
		return s
	}
	status, _ := take("status").(int64)
	size, _ := take("size").(int64)
	duration, _ := take("duration").(time.Duration)
	for _, unknown := range []string{"bytes_read", "user_id"} {
		delete(found.Fields, unknown)
	}
	client, clientPort, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	from := strings.Join(r.Header.Values("X-Forwarded-For"), ", ")
	if from == "" {
		from = client
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	fields := []zapcore.Field{
		zap.String("host", r.Host), zap.Int("port", localPort(r)), zap.String("path", r.URL.Path),
		zap.String("request_id", word("request_id")), zap.Int64("status", status),
		zap.String("service", word("service")), zap.String("target", word("target")), zap.Duration("duration", duration),
		zap.String("method", r.Method), zap.Int64("req_content_length", r.ContentLength), zap.String("req_content_type", r.Header.Get("Content-Type")),
		zap.Int64("resp_content_length", size), zap.String("resp_content_type", answer.Get("Content-Type")),
		zap.String("client_addr", client), zap.String("client_port", clientPort), zap.String("remote_addr", from),
		zap.String("user_agent", r.UserAgent()), zap.String("proto", r.Proto), zap.String("scheme", scheme), zap.String("query", r.URL.RawQuery),
	}
	for name, v := range found.Fields {
		fields = append(fields, zap.Any(name, v))
	}
	return fields
}

// localPort returns the port that a request came to; 0 if that is not known.
func localPort(r *http.Request) int {
	switch addr := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return addr.Port
	case *net.UDPAddr:
		return addr.Port
	}
	return 0
}
