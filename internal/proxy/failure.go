package proxy

import (
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// StatusOf returns the status that a client is answered with for err, an error of
// [Engine.ServeHTTP].
func StatusOf(err error) int {
	held, isHeld := errors.AsType[*HeldError](err)
	refusal, isRefusal := errors.AsType[*HandlerError](err)
	switch {
	case isHeld:
		return held.Status
	case isRefusal:
		return refusal.Status
	case errors.Is(err, ErrClientCertificate):
		return http.StatusForbidden
	case errors.Is(err, ErrHandlers):
		return http.StatusServiceUnavailable
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
	fields := []zap.Field{RecordField(&f.Record, nil, nil), zap.Duration("duration", f.Duration.Round(time.Microsecond))}
	if f.Setting != "" {
		fields = append(fields, zap.String("setting", string(f.Setting)))
	}
	return append(fields, zap.Error(f.Err))
}
