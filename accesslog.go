package parachute

import (
	"bytes"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/http1"
	"github.com/parachute-proxy/parachute/internal/passthrough"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// accessLog writes the lines of the access log about requests that are passed through: the same lines as
// Caddy's server writes about others, from which it makes a replacer, contexts and copies first.
type accessLog struct {
	logger      *zap.Logger
	credentials bool
}

// newAccessLog returns the access log of a server; nil if it has none, or one that is not the same for all
// requests.
func newAccessLog(ctx caddy.Context, server *caddyhttp.Server) *accessLog {
	l := server.Logs
	if l == nil || l.DefaultLoggerName != "" || len(l.LoggerNames) > 0 || len(l.SkipHosts) > 0 || l.SkipUnmappedHosts || l.Trace {
		return nil
	}
	// The name is that of Caddy's own logger of requests.
	return &accessLog{ctx.Logger(new(caddyhttp.App)).Named("log.access"), l.ShouldLogCredentials}
}

// LogPassedThrough implements [passthrough.Logger].
func (l *accessLog) LogPassedThrough(r *passthrough.Request, a *passthrough.Answered) {
	record := forward.Record{Service: a.Service, Release: a.Release, Target: a.Target, RequestID: a.RequestID, UpstreamDuration: a.Took}
	l.write(r, a.Status, a.Size, a.Took, loggedFields{a.Fields, l.credentials}, &record)
}

// logBegun writes the line of a request that was to be passed through, and has been answered as an ordinary one.
func (l *accessLog) logBegun(b *begunRequest, answer caddyhttp.ResponseRecorder) {
	header := caddyhttp.LoggableHTTPHeader{Header: answer.Header(), ShouldLogCredentials: l.credentials}
	l.write(b.request, answer.Status(), answer.Size(), time.Since(b.request.Began), header, &b.record)
}

// write writes a line. The request has no body.
func (l *accessLog) write(r *passthrough.Request, status, size int, took time.Duration, header zapcore.ObjectMarshaler, record *forward.Record) {
	level := zapcore.InfoLevel
	if status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	c := l.logger.Check(level, "handled request")
	if c == nil {
		return
	}
	c.Write(
		zap.Object("request", loggedRequest{r, l.credentials}),
		zap.Int("bytes_read", 0),
		zap.String("user_id", ""),
		zap.Duration("duration", took),
		zap.Int("size", size),
		zap.Int("status", status),
		zap.Object("resp_headers", header),
		proxy.RecordField(record, nil, nil),
	)
}

// loggedRequest is a request as [caddyhttp.LoggableHTTPRequest] logs it.
type loggedRequest struct {
	*passthrough.Request
	credentials bool
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (r loggedRequest) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	_, port, _ := net.SplitHostPort(r.RemoteAddr)
	enc.AddString("remote_ip", r.Client)
	enc.AddString("remote_port", port)
	enc.AddString("client_ip", r.Client)
	enc.AddString("proto", "HTTP/1.1")
	enc.AddString("method", r.Method)
	enc.AddString("host", r.Host)
	enc.AddString("uri", r.Target)
	if err := enc.AddObject("headers", loggedFields{r.Head.Fields, r.credentials}); err != nil {
		return err
	}
	if r.TLS != nil {
		return enc.AddObject("tls", caddyhttp.LoggableTLSConnState(*r.TLS))
	}
	return nil
}

// loggedFields are fields as [caddyhttp.LoggableHTTPHeader] logs them: their names in canonical form, but for
// Host, and no credentials unless they are wanted.
type loggedFields struct {
	fields      []http1.Field
	credentials bool
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (l loggedFields) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for i := range l.fields {
		name := http1.CanonicalName(l.fields[i].Name)
		if name == "Host" || l.isRepeated(i) {
			continue
		}
		if err := enc.AddArray(name, loggedValues{l, name, i}); err != nil {
			return err
		}
	}
	return nil
}

// isRepeated reports whether a field before the i-th has the same name.
func (l loggedFields) isRepeated(i int) bool {
	for _, f := range l.fields[:i] {
		if l.isNamedLike(f, i) {
			return true
		}
	}
	return false
}

// isNamedLike reports whether f has the name of the i-th field.
func (l loggedFields) isNamedLike(f http1.Field, i int) bool {
	name := l.fields[i].Name
	return len(f.Name) == len(name) && bytes.EqualFold(f.Name, name)
}

// loggedValues are the values of the fields with a name, of which the first is the one at.
type loggedValues struct {
	loggedFields
	name string
	at   int
}

// MarshalLogArray implements [zapcore.ArrayMarshaler].
func (v loggedValues) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	switch v.name {
	case "Cookie", "Set-Cookie", "Authorization", "Proxy-Authorization":
		if !v.credentials {
			enc.AppendString("REDACTED")
			return nil
		}
	}
	for _, f := range v.fields[v.at:] {
		if v.isNamedLike(f, v.at) {
			enc.AppendString(string(f.Value))
		}
	}
	return nil
}

var _ passthrough.Logger = (*accessLog)(nil)
