package forward

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// GRPCStatus is the outcome of a gRPC call (gRPC status codes and their use in gRPC).
type GRPCStatus int

// The statuses that a proxy has a use for.
const (
	grpcCancelled         GRPCStatus = 1
	grpcUnknown           GRPCStatus = 2
	grpcDeadlineExceeded  GRPCStatus = 4
	grpcPermissionDenied  GRPCStatus = 7
	grpcResourceExhausted GRPCStatus = 8
	GRPCUnimplemented     GRPCStatus = 12
	grpcInternal          GRPCStatus = 13
	grpcUnavailable       GRPCStatus = 14
)

// String returns the status as the Grpc-Status field has it: its number.
func (s GRPCStatus) String() string { return strconv.Itoa(int(s)) }

// IsGRPCRequest reports whether r is a gRPC call, whose failure a client understands
// only if it is told in gRPC's own way (gRPC over HTTP2, "Requests").
func IsGRPCRequest(r *http.Request) bool { return r.ProtoMajor >= 2 && isGRPC(r.Header) }

// isGRPC reports whether h is the header of a message in the gRPC protocol.
func isGRPC(h http.Header) bool {
	contentType, ok := strings.CutPrefix(h.Get("Content-Type"), "application/grpc")
	return ok && (contentType == "" || contentType[0] == '+' || contentType[0] == ';')
}

// GRPCStatusOf returns what a gRPC client that is connected to the target itself would
// have made of err, an error of [Release.Forward]. It is
// UNAVAILABLE, which clients may repeat, where err does not say what the target did.
func GRPCStatusOf(err error) GRPCStatus {
	if ended, ok := errors.AsType[*callError](err); ok {
		return ended.status
	}
	switch {
	case errors.Is(err, ErrBadRequest):
		return grpcInternal
	case errors.Is(err, ErrClientTimeout):
		return grpcUnknown
	case errors.Is(err, ErrLargeBody):
		return grpcResourceExhausted
	}
	// As a client takes 502, 503 and 504 (HTTP to gRPC Status Code Mapping).
	return grpcUnavailable
}

// IsOverdueCall reports whether err, as [GRPCStatusOf] takes it, is how a server ends a
// call whose own time is over: nothing is wrong with the server.
func IsOverdueCall(err error) bool {
	ended, ok := errors.AsType[*callError](err)
	return ok && ended.status == grpcDeadlineExceeded
}

// callError is the failure of a gRPC call, with what the target made of it.
type callError struct {
	status GRPCStatus
	cause  error
}

func (e *callError) Error() string { return e.cause.Error() }
func (e *callError) Unwrap() error { return e.cause }

// ClientTold reports whether err, with which an answer broke off, has been told to the
// client by the answer itself.
func ClientTold(err error) bool {
	_, told := errors.AsType[*callError](err)
	return told
}

// call is what an exchange has to know of a gRPC call.
type call struct {
	// deadline is when its time is over; zero if it may take as long as it likes.
	deadline time.Time
	// told is its failure, if its client has been told of one.
	told *callError
}

// failed returns err, with which the target has ended the call, and what it means.
func (c *call) failed(err error) *callError {
	e := &callError{grpcUnavailable, err}
	// net/http has a StreamError of its own, which can be had as this one.
	if reset, ok := errors.AsType[http2.StreamError](err); ok {
		e.status = statusOfReset(reset.Code)
	}
	if e.status == grpcCancelled && !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		e.status = grpcDeadlineExceeded // a server whose time is up says no more than that
	}
	return e
}

// callTrailer returns what ends a call. The message must not need to be encoded.
func callTrailer(status GRPCStatus, message string) http.Header {
	return http.Header{"Grpc-Status": {status.String()}, "Grpc-Message": {message}}
}

// statusOfReset returns what a reset of a stream means (gRPC over HTTP2, "Errors").
func statusOfReset(code http2.ErrCode) GRPCStatus {
	switch code {
	case http2.ErrCodeCancel:
		return grpcCancelled
	case http2.ErrCodeRefusedStream:
		return grpcUnavailable
	case http2.ErrCodeEnhanceYourCalm:
		return grpcResourceExhausted
	case http2.ErrCodeInadequateSecurity:
		return grpcPermissionDenied
	}
	return grpcInternal
}

// callDeadline returns the end of the time that a call which begins now has, or the
// zero time if it may take as long as it likes (gRPC over HTTP2, "Timeout").
func callDeadline(h http.Header) time.Time {
	timeout := h.Get("Grpc-Timeout")
	if len(timeout) < 2 || len(timeout) > 9 {
		return time.Time{}
	}
	n, err := strconv.ParseUint(timeout[:len(timeout)-1], 10, 32)
	unit := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second,
		'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[timeout[len(timeout)-1]]
	if err != nil || unit == 0 || time.Duration(n) > math.MaxInt64/unit {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(n) * unit)
}
