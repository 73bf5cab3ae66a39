package forward

import (
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// targetRequest makes the request to the target from the client's, and returns the
// protocol that the client wants to switch to, if any.
func (x *exchange) targetRequest() (out *http.Request, upgrade string) {
	out = x.in.WithContext(x)
	out.Body, out.GetBody, out.Close, out.Form, out.TransferEncoding = http.NoBody, nil, false, nil, nil
	if x.body == nil {
		out.ContentLength = 0
	} else {
		out.Body = x.body.forAnyTransport(x)
	}
	out.RequestURI = x.requestTarget()

	x.pooled = targetHeaders.Get().(*targetHeader)
	h := x.pooled.fields
	x.copyHeader(h)
	if x.body != nil && x.body.spool != nil {
		delete(h, "Expect") // there is nothing to wait for (RFC 9110, section 10.1.1)
	}
	switch upgrade = x.upgradeWanted(); {
	case upgrade == "":
	case out.Method == http.MethodConnect:
		out.Method = http.MethodGet
		h[webSocketKey] = []string{newWebSocketKey()}
		fallthrough
	default:
		h["Connection"] = []string{"Upgrade"}
		h["Upgrade"] = []string{upgrade}
	}
	x.describe(h)
	out.Header = h
	return out, upgrade
}

// copyHeader copies what is for the target into h.
func (x *exchange) copyHeader(h http.Header) {
	in := x.in.Header
	for name, values := range in {
		if name == "" || name[0] == ':' || hopByHop(name) || x.madeUp(name) || ambiguous(name, in) {
			continue
		}
		h[spelled(name)] = values
	}
	deleteNamed(h, in["Connection"])
	if httpguts.HeaderValuesContainsToken(in["Te"], "trailers") {
		h["Te"] = []string{"trailers"} // which is about the message after all
	}
	if _, ok := in["User-Agent"]; !ok {
		h["User-Agent"] = nil // net/http would fill in its own
	}
	if !transport.Idempotent(x.in.Method) {
		hideIdempotencyKeys(h)
	}
}

// hideIdempotencyKeys writes the names of these headers in a way that net/http
// does not recognise, though every app does: it takes them as leave to repeat a
// POST that may have arrived. Whether the key is honoured, only the client knows.
func hideIdempotencyKeys(h http.Header) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := h[name]; ok {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}

// describe tells the target where the request comes from.
func (x *exchange) describe(h http.Header) {
	peer, _, err := net.SplitHostPort(x.in.RemoteAddr)
	if err != nil {
		peer = x.in.RemoteAddr
	}
	if client := x.namedClient(); client != "" {
		peer = client + ", " + peer
	} else if before := h["X-Forwarded-For"]; len(before) > 0 {
		peer = strings.Join(before, ", ") + ", " + peer
	}
	proto := "http"
	if x.in.TLS != nil {
		proto = "https"
	}
	values := x.pooled.values[:0] // a slice of one for each field would be garbage
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	setAbsent := func(name, value string) {
		if old := h[name]; len(old) == 0 || old[0] == "" {
			set(name, value)
		}
	}
	set("X-Forwarded-For", peer)
	setAbsent("X-Forwarded-Host", x.in.Host)
	setAbsent("X-Forwarded-Proto", proto)
	if x.stripsPrefix() {
		setAbsent("X-Forwarded-Prefix", x.prefix)
	}
	if len(h["X-Request-Start"]) == 0 || len(h["X-Request-Id"]) == 0 {
		start, id := startAndID(x.from.Began)
		if sent := x.from.Begun.sentID(); sent != "" {
			id = sent
		}
		setAbsent("X-Request-Start", start)
		setAbsent("X-Request-Id", id)
	}
}

// nameTarget tells a target its own address, where the host of the engine wants that.
func (x *exchange) nameTarget(out *http.Request, u *upstream) {
	if name := x.from.TargetHeader; name != "" {
		out.Header[name] = []string{u.target.String()}
	}
}

// EnsureRequestID returns the X-Request-Id of a request, which gets one if it has none: a target is told
// the same one. began is when the request began.
func EnsureRequestID(h http.Header, began time.Time) string {
	if id := h["X-Request-Id"]; len(id) > 0 && id[0] != "" {
		return id[0][:min(len(id[0]), maxRequestID)]
	}
	_, id := startAndID(began)
	h["X-Request-Id"] = []string{id}
	return id
}

// startAndID returns what appendStart and appendID append, with one allocation for both.
func startAndID(began time.Time) (start, id string) {
	b := appendStart(make([]byte, 0, 48), began)
	n := len(b)
	s := string(appendID(b))
	return s[:n], s[n:]
}

// appendStart appends when a request began as "t=" and milliseconds, which is how monitoring agents
// read X-Request-Start.
func appendStart(b []byte, began time.Time) []byte {
	return strconv.AppendInt(append(b, "t="...), began.UnixMilli(), 10)
}

// requestIDSize is the length of a request id of ours.
const requestIDSize = 26

// appendID appends a random request id of 128 bits. It is to be unique, not secret.
func appendID(b []byte) []byte {
	const digits = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648, section 6
	for range 2 {
		for bits, random := 0, rand.Uint64(); bits < 65; bits += 5 {
			b = append(b, digits[random&31])
			random >>= 5
		}
	}
	return b
}

// requestTarget returns the request target for the target: that of the client, less
// the prefix. The prefix was found in the path as [CleanPath] has it, so it is removed from that.
func (x *exchange) requestTarget() string {
	target, path, query := OriginForm(x.in)
	if x.stripsPrefix() {
		if !IsClean(x.in.URL.Path) {
			path = CleanPath(path)
		}
		path = stripPrefix(path, x.prefix)
		target = path + query
	}
	if path == "" {
		target = "/" + query
	}
	return target
}

// stripsPrefix reports whether the target gets the path without the prefix of its route.
func (x *exchange) stripsPrefix() bool {
	return x.prefix != "/" && x.release.Spec.Options.StripPathPrefix
}
