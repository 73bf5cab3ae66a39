package forward

import (
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/boundary"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// relay passes the answer on to the client. Its error is ErrBrokenOff.
func (x *exchange) relay(resp *http.Response) error {
	defer resp.Body.Close()
	x.detectStream(resp)
	h := x.w.Header()
	x.copyAnswerHeader(h, resp)
	if x.body != nil && !x.body.complete() && x.in.ProtoMajor == 1 {
		// Otherwise net/http throws away what is left of the body as soon as the
		// answer begins, and the target takes the rest for all of it.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
		// The client may send the rest or not: what follows the answer on this
		// connection would be anybody's guess.
		h["Connection"] = []string{"close"}
	}
	x.large = x.large || resp.ContentLength > maxTimedBody
	x.status = resp.StatusCode
	x.w.WriteHeader(resp.StatusCode)
	// To a 304 over HTTP/2 with a Content-Length, net/http misses the body.
	if resp.Body != http.NoBody && resp.StatusCode != http.StatusNotModified {
		if err := x.copyBody(resp); err != nil {
			return wrap(ErrBrokenOff, err)
		}
	}
	x.setTrailers(h, resp)
	if x.call != nil && x.call.told != nil {
		return wrap(ErrBrokenOff, x.call.told)
	}
	return nil
}

// copyAnswerHeader copies what is for the client into h.
func (x *exchange) copyAnswerHeader(h http.Header, resp *http.Response) {
	deleteNamed(resp.Header, resp.Header["Connection"])
	x.scopeCookies(resp.Header)
	for name, values := range resp.Header {
		if hopByHop(name) {
			continue
		}
		if before, ok := h[name]; ok && name != "Server" && name != "Date" {
			// Put there by a middleware before us, or Caddy's Alt-Svc.
			values = append(slices.Clip(before), values...)
		}
		h[spelled(name)] = values
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess one
	}
	if resp.StatusCode == http.StatusNoContent {
		delete(h, "Content-Length") // RFC 9110, section 8.6
	}
	x.addCookies(h, resp.Header)
	if len(resp.Trailer) > 0 {
		h["Trailer"] = []string{strings.Join(slices.Sorted(maps.Keys(resp.Trailer)), ", ")}
	}
}

// scopeCookies puts the prefix before the paths of the cookies of an answer, if the service wants
// that.
func (x *exchange) scopeCookies(answer http.Header) {
	if x.release.Spec.Options.ScopeCookiePaths && x.stripsPrefix() {
		scopeCookies(answer["Set-Cookie"], x.prefix, x.in.Host)
	}
}

// addCookies adds the cookies of the proxy's own to h, which the client gets for answer.
func (x *exchange) addCookies(h, answer http.Header) {
	x.stick(h)
	if x.release.hasReadTargets() {
		x.keepWithWriter(h, answer)
	}
}

// setTrailers sets the trailers, once the body has been copied.
func (x *exchange) setTrailers(h http.Header, resp *http.Response) {
	if len(resp.Trailer) == 0 {
		return
	}
	// A body that is still in a buffer would get a length, and then no trailers.
	_ = http.NewResponseController(x.w).Flush()
	announced := strings.Split(h.Get("Trailer"), ", ")
	for name, values := range resp.Trailer {
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		if len(values) > 0 {
			h[name] = values
		}
	}
}

// onlyWriter hides the ReadFrom of a client's writer, which spares no copy over TLS and
// does not flush when it has to wait.
type onlyWriter struct{ io.Writer }

// copyBody copies the body of the answer. What has no length is live: it is
// flushed whenever there is nothing more to copy at the moment. Other bodies are
// flushed when the target keeps the client waiting, if it is our own transport that
// waits.
func (x *exchange) copyBody(resp *http.Response) error {
	sent := &x.release.Traffic.sent
	flush := func() { _ = http.NewResponseController(x.w).Flush() }
	live := resp.ContentLength < 0 || wantsLive(resp) || isEventStream(resp)
	if body, ok := resp.Body.(*transport.Body); ok {
		body.OnWait(flush, live)
		w := io.Writer(x.w)
		if x.in.TLS != nil || x.in.ProtoMajor > 1 {
			w = onlyWriter{w}
		}
		n, err := body.WriteTo(w)
		sent.Add(n)
		return err
	}
	if live {
		flush()
	}
	buf := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			if _, err := x.w.Write(buf[:n]); err != nil {
				return err
			}
			sent.Add(int64(n)) // at once: a stream may go on for days
			if live {
				flush()
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// isEventStream reports whether resp is a stream of server-sent events.
func isEventStream(resp *http.Response) bool {
	contentType := resp.Header.Get("Content-Type")
	if !strings.HasPrefix(strings.ToLower(contentType), "text/event-stream") {
		return false
	}
	mediaType, _, _ := mime.ParseMediaType(contentType)
	return mediaType == "text/event-stream"
}

// detectStream recognises an answer without an end and makes it a stream, which ends
// at a boundary when it is closed politely.
func (x *exchange) detectStream(resp *http.Response) {
	if resp.ContentLength >= 0 || resp.Body == http.NoBody {
		return
	}
	var s *streamBody
	switch {
	case isEventStream(resp):
		s = newEventStream(resp)
	case isGRPC(resp.Header):
		s = newMessageStream(resp)
		if x.call != nil {
			s.tell = func(err error) bool { return x.tellCaller(resp, err) }
		}
	default:
		return
	}
	s.abort = x.abort
	resp.Body = s
	x.becomeStream(s)
	x.count(resp.StatusCode, nil)
	if x.from.AllowSilence != nil {
		x.from.AllowSilence()
	}
}

// tellCaller gives the answer to a call, which has ended with err before its end, the
// trailers that say so. A message that is not whole is known by its length.
func (x *exchange) tellCaller(resp *http.Response, err error) bool {
	if x.clientGone() {
		return false
	}
	x.call.told = x.call.failed(err)
	reason := "the application broke off its answer"
	if x.stream.wasCut() {
		reason = boundary.CloseReason
	}
	resp.Trailer = callTrailer(x.call.told.status, reason)
	return true
}
