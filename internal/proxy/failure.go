package proxy

import (
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// StatusOf returns the status that a client is answered with for err, an error of
// [Engine.ServeHTTP].
func StatusOf(err error) int {
	held, isHeld := errors.AsType[*HeldError](err)
	switch {
	case isHeld:
		return held.Status
	case errors.Is(err, ErrNoRoute):
		return http.StatusNotFound
	case errors.Is(err, ErrRetired):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrLoop):
		return http.StatusLoopDetected
	case errors.Is(err, ErrMisdirected):
		return http.StatusMisdirectedRequest
	}
	return forward.StatusOf(err)
}

// LogFields returns what a line of the log says of err, an error of [Engine.ServeHTTP]:
// the error, whose request it was, how long that took, and the setting whose time was over.
func LogFields(err error) []zap.Field {
	f, ok := errors.AsType[*forward.Failure](err)
	if !ok {
		return []zap.Field{zap.Error(err)}
	}
	fields := []zap.Field{RecordField(&f.Record), zap.Duration("duration", f.Duration.Round(time.Microsecond))}
	if f.Setting != "" {
		fields = append(fields, zap.String("setting", string(f.Setting)))
	}
	return append(fields, zap.Error(f.Err))
}

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
