package parachute

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/clientconn"
	"github.com/parachute-proxy/parachute/internal/errorpage"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/proxy"
	"github.com/parachute-proxy/parachute/internal/run"
)

// Handler forwards requests to the services that have been deployed.
type Handler struct {
	// Service is the service to forward to. Default: the one that claims the
	// request's host and path.
	Service string `json:"service,omitempty"`
	// PassThru hands requests that no service is deployed for to the next
	// handler, instead of answering 404.
	PassThru bool `json:"pass_thru,omitempty"`
	// ClientTimeout is how long a client may stall, sending its request's body or
	// taking the answer. Default: what the server has as read_idle_timeout and
	// write_idle_timeout. It costs less than those; to replace them, give the
	// server -1 for both.
	ClientTimeout caddy.Duration `json:"client_timeout,omitempty"`
	// MaxHeaderSize is how many bytes the head of a request may have: its request line
	// and header fields, as HTTP/1.1 writes them. What is over it is answered with 431.
	// The server has to parse more than that (max_header_bytes), since over HTTP/2 what it
	// does not parse ends the connection. Default: what the server parses.
	MaxHeaderSize int64 `json:"max_header_size,omitempty"`
	// TargetHeader is a header field in which a target is told its own address, as it was
	// deployed. What a client sends in it is dropped. Default: none.
	TargetHeader string `json:"target_header,omitempty"`

	// PingPath is a path at which GET and HEAD are answered on every host, whether a service has it or
	// not: 200, and 503 from when the process is told to stop. It is for load balancers in front.
	// Default: none.
	PingPath string `json:"ping_path,omitempty"`

	app    *App
	engine *proxy.Engine
	// server is the server that the handler is in; nil if it is in none.
	server *caddyhttp.Server
	logger *zap.Logger
	guards clientconn.Guards
	// logs says that the server logs its requests, and accessLog is for those that are passed through; nil if
	// the server has settings for its log.
	logs      bool
	accessLog *accessLog
	// fastPath is nil for a handler that is in no server.
	fastPath *clientconn.FastPath
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.parachute", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the app, which need not be configured.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if h.ClientTimeout < 0 {
		return errors.New("client_timeout is negative")
	}
	if h.MaxHeaderSize < 0 {
		return errors.New("max_header_size is negative")
	}
	if h.PingPath != "" {
		if err := run.CheckPingPath(h.PingPath); err != nil {
			return fmt.Errorf("ping_path: %w", err)
		}
	}
	if h.TargetHeader != "" {
		if _, _, err := api.ParseHeaderField(h.TargetHeader + ":"); err != nil {
			return fmt.Errorf("target_header %q is not the name of a header field", h.TargetHeader)
		}
		h.TargetHeader = http.CanonicalHeaderKey(h.TargetHeader)
	}
	if h.Service != "" {
		if err := api.ValidateServiceName(h.Service); err != nil {
			return err
		}
	}
	app, err := ctx.App("parachute")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.engine = h.app.engine
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	h.server, h.logs = server, server.Logs != nil
	last := !h.PassThru && (server.Errors == nil || len(server.Errors.Routes) == 0)
	h.guards = clientconn.Guard(server, time.Duration(h.ClientTimeout), last, h.logger)
	h.accessLog = newAccessLog(ctx, server)
	owns := func() clientconn.Ownership { return h.owns(server) }
	h.fastPath = clientconn.NewFastPath(server, owns, h.app.trustNobody[server], fastHandler{h})
	// Apps stop in no order, and the server waits for streams over HTTP/1.1 and
	// HTTP/2 as it does for requests: they have to begin to close when it does.
	closeStreams := h.app.closeStreams
	server.RegisterOnShutdown(func() {
		if caddy.Exiting() {
			closeStreams()
		}
	})
	return nil
}

// owns says whether h is all that there is to server, which then has no use for what
// Caddy does with a request before it hands it to a handler.
func (h *Handler) owns(server *caddyhttp.Server) clientconn.Ownership {
	app, err := h.app.ctx.AppIfConfigured("http")
	if err != nil || app.(*caddyhttp.App).Metrics != nil || h.PassThru {
		return clientconn.NotOwned
	}
	return clientconn.OwnershipOf(server, h)
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	c := clientconn.Of(r)
	clientconn.RestoreNames(r.Header)
	h.app.offerPublicPort(w.Header())
	h.fastPath.Remember(c, w, trusted)
	return h.serve(c, w, r, trusted, next, nil)
}

// serve serves a request of a client that is a trusted proxy or not. c is nil if the
// connection is not one of ours. begun is not nil for a request that was to be passed through.
func (h *Handler) serve(c *clientconn.Conn, w http.ResponseWriter, r *http.Request, trusted bool, next caddyhttp.Handler, begun *begunRequest) error {
	if h.isPing(r) {
		forward.EndAmbiguous(w, r)
		answerPing(w)
		return nil
	}
	w, r, guarded := h.guards.Begin(c, w, r)
	defer guarded.Done()
	if h.MaxHeaderSize > 0 && headSize(r) > h.MaxHeaderSize {
		return h.fail(w, r, errLargeHead)
	}
	client := forward.Sender{Trusted: trusted, Ports: h.app.ports(), AllowSilence: guarded.AllowSilence, Server: h.server, TargetHeader: h.TargetHeader}
	if watched := guarded.Watched(); watched != nil {
		client.Connection = watched
	}
	switch {
	case !h.logs:
	case begun != nil: // of which our own access log tells
		client.Record = &begun.record
	default:
		client.Record = new(forward.Record)
		defer h.addToLog(w, r, client.Record) // also when the answer breaks off, which is a panic
	}
	var err error
	if begun != nil {
		err = h.engine.ServeBegun(w, r, begun.Begun, client)
	} else {
		err = h.engine.ServeHTTP(w, r, h.Service, client)
	}
	switch {
	case err == nil:
		return nil
	case h.PassThru && errors.Is(err, proxy.ErrNoRoute):
		return next.ServeHTTP(w, r)
	}
	return h.fail(w, r, err)
}

// addToLog adds what became of a request to its line in the access log.
func (h *Handler) addToLog(w http.ResponseWriter, r *http.Request, record *forward.Record) {
	if record.RequestID == "" { // it was answered before it came to a service
		record.RequestID = forward.EnsureRequestID(r.Header, time.Now())
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(proxy.RecordField(record, r.Header, w.Header()))
	}
}

// errLargeHead is that the head of a request is larger than MaxHeaderSize.
var errLargeHead = errors.New("the request's head is too large")

// headSize returns the size of the head of r as HTTP/1.1 would write it.
func headSize(r *http.Request) int64 {
	size := len(r.Method) + len(r.RequestURI) + len(r.Host) + len(" HTTP/1.1\r\nHost: \r\n\r\n")
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return int64(size)
}

// requestErrors maps the engine's request errors to what the client is told.
var requestErrors = []struct {
	err     error
	code    string
	message string
}{
	{errLargeHead, "large_head", "the request's header is too large"},
	{proxy.ErrNoRoute, "no_route", "no service is deployed for this host and path"},
	{proxy.ErrRetired, "stopping", "the proxy's configuration has changed; try again"},
	{proxy.ErrClientCertificate, "client_certificate", "the service is for clients with a certificate that it trusts"},
	{proxy.ErrHandlers, "handlers", "the service's handlers cannot be used"},
	{proxy.ErrPasswordsWait, "passwords", "too many passwords wait to be checked; try again"},
	{proxy.ErrOtherHandlers, "moved", "another service has this address now; try again"},
	{proxy.ErrLoop, "loop", "the proxy is deployed as its own application"},
	{proxy.ErrStopped, "stopped", "the service is stopped"},
	{proxy.ErrPaused, "paused", "the service is paused"},
	{proxy.ErrQueueFull, "paused", "the service is paused; try again soon"},
	{proxy.ErrMisdirected, "misdirected", "this connection was made for another service"},
	{forward.ErrLargeBody, "large_body", "the request's body is too large"},
	{forward.ErrNoRoom, "no_room", "the proxy has no room for the request's body; try again later"},
	{forward.ErrClientTimeout, "client_timeout", "the client stopped sending its request"},
	{forward.ErrBadRequest, "bad_request", "the request is malformed"},
	{forward.ErrClientGone, "client_gone", "the client went away"},
	{forward.ErrUnreachable, "unreachable", "the application cannot be reached"},
	{forward.ErrTimeout, "timeout", "the application did not answer in time"},
	{forward.ErrLargeAnswer, "large_answer", "the application's answer is too large"},
	{forward.ErrCut, "cut", "the request took too long and was cut, because a new release has replaced the one it was sent to"},
	{forward.ErrBadGateway, "bad_gateway", "the application gave no valid answer"},
}

// shortened returns a text of a client's for the log, which a client is not to fill.
func shortened(s string) string {
	const enough = 8 << 10
	if len(s) <= enough {
		return s
	}
	return s[:enough] + "..."
}

// grpcMessage returns a text as a Grpc-Message has it (gRPC over HTTP/2, "Responses"): an
// operator writes in any language, and a header field has ASCII alone.
func grpcMessage(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// operatorError is an error in the words of the operator: error routes have its text as
// {http.error.message}.
type operatorError struct {
	message string
	cause   error
}

func (e operatorError) Error() string { return e.message }

// Unwrap returns the cause.
func (e operatorError) Unwrap() error { return e.cause }

// fail answers a request that could not be served: with the site's own error
// routes if it has any, else with a page that says who is speaking.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) error {
	_, isIntercepted := errors.AsType[*forward.InterceptedError](err)
	status, code, message := proxy.StatusOf(err), "bad_gateway", "the application gave no valid answer"
	for _, e := range requestErrors {
		if errors.Is(err, e.err) {
			code, message = e.code, e.message
			break
		}
	}
	if isIntercepted {
		code, message = "intercepted", "the application answered with an error"
	}
	reason := message
	refusal, isRefusal := errors.AsType[*proxy.HandlerError](err)
	held, isHeld := errors.AsType[*proxy.HeldError](err)
	if isHeld && held.Message != "" {
		message = held.Message
	}
	if errors.Is(err, errLargeHead) {
		status = http.StatusRequestHeaderFieldsTooLarge
	}
	header := w.Header()
	if isHeld && held.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(held.RetryAfter.Seconds()))) // error routes leave it
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if ok && server.Errors != nil && len(server.Errors.Routes) > 0 {
		if isHeld && held.Message != "" {
			err = operatorError{message, err}
		}
		return caddyhttp.Error(status, err)
	}
	level := zapcore.DebugLevel
	if status >= 500 && !isIntercepted && !forward.IsOverdueCall(err) && !isHeld || status == http.StatusRequestHeaderFieldsTooLarge {
		level = zapcore.WarnLevel
	}
	if c := h.logger.Check(level, "request failed"); c != nil {
		c.Write(append(proxy.LogFields(err), zap.String("host", r.Host), zap.String("method", r.Method),
			zap.String("uri", shortened(r.RequestURI)), zap.Int("status", status))...)
	}
	page := errorpage.Page{Status: status, Reason: reason, Code: code}
	var own *errorpage.Set
	if failure, ok := errors.AsType[*forward.Failure](err); ok {
		own, page.RequestID = failure.Pages, failure.RequestID
	}
	if isHeld {
		page.Message = held.Message
	}
	if isRefusal {
		page.Reason, page.Code = "the service has refused the request", "refused"
		if errorpage.PreferenceOf(r.Header) == errorpage.Refuses || !h.writeOwnPage(w, own, page) {
			w.WriteHeader(refusal.Status) // as Caddy's server answers it
		}
		return nil
	}
	if errors.Is(err, proxy.ErrClientCertificate) && r.TLS != nil && len(r.TLS.PeerCertificates) == 0 {
		// The client may have one, and not have been asked: the connection may be older than
		// the release that wants it. HTTP/3 has only a status to say so.
		if r.ProtoMajor < 3 {
			header.Set("Connection", "close") // over HTTP/2, this is GOAWAY
		} else {
			status = http.StatusMisdirectedRequest
		}
	}
	if errors.Is(err, forward.ErrLargeBody) && r.ProtoMajor == 1 {
		// What is left of the body would have to be read before the next request.
		header.Set("Connection", "close")
	}
	header.Set("Cache-Control", "no-store")
	header.Set("X-Parachute-Error", code)
	// 421 has the client come back over another connection, which only HTTP can say.
	if forward.IsGRPCRequest(r) && status != http.StatusMisdirectedRequest && status != forward.StatusClientClosedRequest {
		header.Set("Content-Type", "application/grpc")
		call := forward.GRPCStatusOf(err)
		if errors.Is(err, proxy.ErrNoRoute) {
			call = forward.GRPCUnimplemented // as of a server that has no such method
		}
		header.Set("Grpc-Status", call.String())
		header.Set("Grpc-Message", "parachute: "+grpcMessage(message))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	page.Status = status
	h.writePage(w, r, own, page)
	return nil
}
