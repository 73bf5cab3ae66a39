package proxy

import (
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// RecordField returns what a log says of the service that a request was for, as one field
// that stands for several. There is nothing to say of a request that came to none. in and out are
// the header fields of the request and of its answer, of which it has those that the service
// names; nil if they are not to be told.
func RecordField(r *forward.Record, in, out http.Header) zap.Field {
	return zap.Inline(record{r, in, out})
}

type record struct {
	*forward.Record
	in, out http.Header
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (r record) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	if r.Service != "" {
		enc.AddString("service", r.Service)
		enc.AddInt("release", r.Release)
	}
	if r.Target != "" {
		enc.AddString("target", r.Target)
	}
	if r.RequestID != "" {
		enc.AddString("request_id", r.RequestID)
	}
	if r.Reason != "" {
		enc.AddString("reason", r.Reason)
	}
	if r.UpstreamDuration > 0 {
		enc.AddDuration("upstream_duration", r.UpstreamDuration)
	}
	if r.Logged != nil && r.in != nil {
		addFields(enc, "req_", r.Logged.Request, r.in)
		addFields(enc, "resp_", r.Logged.Response, r.out)
	}
	return nil
}

// secretFields are those whose values are in no log.
var secretFields = []string{"Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie"}

// addFields adds the named fields of a header, which are empty where it has none.
func addFields(enc zapcore.ObjectEncoder, prefix string, names []string, header http.Header) {
	for _, name := range names {
		value := strings.Join(header[name], ",")
		if value != "" && slices.Contains(secretFields, name) {
			value = "REDACTED"
		}
		enc.AddString(prefix+strings.ReplaceAll(strings.ToLower(name), "-", "_"), value)
	}
}
