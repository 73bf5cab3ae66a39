package proxy

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// RecordField returns what a log says of the service that a request was for, as one field
// that stands for several. There is nothing to say of a request that came to none.
func RecordField(r *forward.Record) zap.Field { return zap.Inline(record{r}) }

type record struct{ *forward.Record }

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
	if r.UpstreamDuration > 0 {
		enc.AddDuration("upstream_duration", r.UpstreamDuration)
	}
	return nil
}
