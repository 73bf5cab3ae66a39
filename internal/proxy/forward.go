package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// exchange is one request on its way through a release.
type exchange struct {
	release  *Release
	prefix   string
	client   Client
	upstream *upstream
	body     *requestBody
	// conn is the connection to the target, known once it carries the request.
	conn atomic.Pointer[net.Conn]
	// clientConn is the connection to the client, once it has been upgraded.
	clientConn atomic.Pointer[net.Conn]
	// cancel ends the request to the target.
	cancel context.CancelCauseFunc
	// spare keeps the request from being cut when the drain timeout is over.
	spare func() bool
	// stream is set when the request has turned into a stream.
	stream *stream
	err    error
}

type exchangeKey struct{}

// forward sends the request, which the caller has acquired r for, to one of r's
// targets and the answer to w. It ends what the caller acquired. An error means that nothing has been written; an
// answer that breaks off half-way ends in a panic with [http.ErrAbortHandler],
// so that it cannot look complete.
func (r *Release) forward(forwarder http.Handler, w http.ResponseWriter, req *http.Request, prefix string, client Client) error {
	x := &exchange{release: r, prefix: prefix, client: client}
	defer x.end()
	if !forwardable(req) {
		return ErrBadRequest
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	x.cancel = cancel
	x.spare = context.AfterFunc(r.uncut, func() { cancel(ErrCut) })

	ctx = context.WithValue(ctx, exchangeKey{}, x)
	header := req.Header
	switch protocol := upgradeType(header); {
	case strings.EqualFold(protocol, "h2c"):
		// HTTP/2 has dropped this upgrade (RFC 9113, section 3.1). Behind it, the
		// connection would be a tunnel that no route and no header rule applies to.
		header = header.Clone()
		for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
			header.Del(name)
		}
	case protocol != "":
		w = &hijackWatcher{ResponseWriter: w, x: x}
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) { x.conn.Store(&info.Conn) },
		})
	}
	in := req.WithContext(ctx)
	in.Header = header
	if req.Body != nil && req.Body != http.NoBody && req.ContentLength != 0 {
		x.body = &requestBody{body: req.Body}
		in.Body = x.body
		if req.ProtoMajor == 1 {
			// Otherwise net/http throws away what is left of the body as soon as
			// the answer begins, and the target takes the rest for all of it.
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
	}
	forwarder.ServeHTTP(w, in)
	if x.err == nil || x.clientConn.Load() != nil {
		return nil
	}
	if x.stream != nil {
		x.stream.closer.cut() // an upgrade that the client's side could not follow
	}
	return x.classify(req.Context(), ctx)
}

// forwardable reports whether a request may be sent to a target: not CONNECT,
// which asks for a tunnel, and not a target that is no path (RFC 9112, section
// 3.2) or not ASCII, which apps read in different ways.
func forwardable(req *http.Request) bool {
	path := req.URL.Path
	return httpguts.ValidHeaderFieldName(req.Method) && req.Method != http.MethodConnect &&
		req.URL.Opaque == "" && (path == "" || path[0] == '/') &&
		!strings.ContainsFunc(req.RequestURI, func(r rune) bool { return r >= 0x80 || r <= ' ' })
}

// end gives back what the exchange holds.
func (x *exchange) end() {
	x.leaveUpstream()
	if x.body != nil {
		x.body.detach()
	}
	if x.spare != nil {
		x.spare()
	}
	if x.stream != nil {
		x.release.removeStream(x.stream)
	} else {
		x.release.done()
	}
}

func (x *exchange) enterUpstream(u *upstream) {
	x.leaveUpstream()
	u.inFlight.Add(1)
	x.upstream = u
}

func (x *exchange) leaveUpstream() {
	if x.upstream != nil {
		x.upstream.inFlight.Add(-1)
		x.upstream = nil
	}
}

// becomeStream turns the request into a stream: from here on it is closed by a
// drain and not waited for.
func (x *exchange) becomeStream(closer streamCloser) {
	x.spare()
	x.stream = &stream{closer: closer}
	x.release.addStream(x.stream)
	x.release.done()
}

// classify says whose fault x.err was.
func (x *exchange) classify(client, ctx context.Context) error {
	switch {
	case errors.Is(x.err, errMoved):
		return errMoved
	case context.Cause(ctx) == ErrCut:
		return ErrCut
	case client.Err() != nil:
		return ErrClientGone
	case x.body != nil && x.body.failed.Load():
		return ErrBadRequest
	case isTimeout(x.err):
		return wrap(ErrTimeout, x.err)
	case isDialError(x.err):
		return wrap(ErrUnreachable, x.err)
	}
	return wrap(ErrBadGateway, x.err)
}

// requestError is a request error with its cause, for the log.
type requestError struct{ kind, cause error }

func wrap(kind, cause error) error           { return &requestError{kind, cause} }
func (e *requestError) Error() string        { return e.kind.Error() + ": " + e.cause.Error() }
func (e *requestError) Is(target error) bool { return e.kind == target }
func (e *requestError) Unwrap() error        { return e.cause }

// newReverseProxy returns the forwarder of all releases: the standard library's,
// with the release of each request as its transport.
func newReverseProxy(e *Engine) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      releaseTransport{},
		ModifyResponse: modifyResponse,
		BufferPool:     copyBuffers{},
		ErrorLog:       log.New(forwarderLog{e}, "", 0),
		ErrorHandler: func(_ http.ResponseWriter, req *http.Request, err error) {
			exchangeOf(req).err = err
		},
	}
}

// forwarderLog takes what the reverse proxy logs: responses that broke off, which
// their clients see as well.
type forwarderLog struct{ engine *Engine }

func (l forwarderLog) Write(line []byte) (int, error) {
	l.engine.log().Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}

func exchangeOf(req *http.Request) *exchange {
	return req.Context().Value(exchangeKey{}).(*exchange)
}

// rewrite makes the request to the target from the client's.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In)
	// The reverse proxy has dropped the parts of the query that it does not
	// understand; what a query means is between the client and the app.
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	// Filled in when the body ends, so a copy would stay empty.
	pr.Out.Trailer = pr.In.Trailer
	pr.Out.URL.Scheme = "http"
	pr.Out.Host = pr.In.Host
	if x.release.options.StripPathPrefix {
		stripPrefix(pr.Out.URL, x.prefix)
	}
	keepPath(pr.Out.URL)
	x.client.setForwarded(pr.In, pr.Out, x)
	hideIdempotencyKeys(pr.Out)
	if x.body != nil {
		// A body of which nothing has been read can be sent again. The
		// transport asks for it when a pooled connection proves dead before the
		// request was written.
		pr.Out.GetBody = x.body.again
		pr.Out.Body = x.body
	}
}

// hideIdempotencyKeys writes the names of these headers in a way that net/http
// does not recognise, though every app does: it takes them as leave to repeat a
// POST that may have arrived. Whether the key is honoured, only the client knows.
func hideIdempotencyKeys(out *http.Request) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := out.Header[name]; ok && !idempotent(out.Method) {
			delete(out.Header, name)
			out.Header[strings.ToLower(name)] = values
		}
	}
}

// modifyResponse recognises streams.
func modifyResponse(resp *http.Response) error {
	x := exchangeOf(resp.Request)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		body, ok := resp.Body.(io.ReadWriteCloser)
		conn, protocol := x.conn.Load(), upgradeType(resp.Header)
		if !ok || conn == nil || !strings.EqualFold(protocol, upgradeType(resp.Request.Header)) {
			return errors.New("the target switched to a protocol that was not asked for")
		}
		up := newUpgradedConn(body, *conn, strings.EqualFold(protocol, "websocket"))
		up.hangUp = x.hangUp
		resp.Body = up
		x.becomeStream(up)
		return nil
	}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mediaType == "text/event-stream" && resp.ContentLength < 0 {
		es := &eventStream{body: resp.Body, abort: func() { x.cancel(nil) }, borders: &eventBorders{}}
		if resp.Header.Get("Content-Encoding") != "" {
			es.borders = anyBorder{}
		}
		resp.Body = es
		x.becomeStream(es)
	}
	if strings.EqualFold(resp.Header.Get("X-Accel-Buffering"), "no") {
		// An unknown length makes the reverse proxy flush every write; the
		// Content-Length header, if there is one, is passed on all the same.
		resp.ContentLength = -1
	}
	return nil
}
