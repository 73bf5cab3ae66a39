package forward

import (
	"net/http"
	"net/textproto"
	"strings"
)

// ambiguous tells whether name is a second name for another header field of a request:
// CGI, WSGI and Rack make the same variable of X-Forwarded-Proto and X_Forwarded_Proto,
// and PHP of X.Forwarded.Proto as well. The other field is one that the proxy sets or
// removes, for whoever sends it, or one that the request has.
func ambiguous(name string, in http.Header) bool {
	if strings.IndexByte(name, '_') < 0 && strings.IndexByte(name, '.') < 0 {
		return false
	}
	dashed := http.CanonicalHeaderKey(toDashes.Replace(name))
	if _, ok := in[dashed]; ok || hopByHop(dashed) || speaksForOthers(dashed) || strings.HasPrefix(dashed, webSocketFields) {
		return true
	}
	switch dashed {
	case "Content-Length", "X-Request-Id", "X-Request-Start":
		return true
	}
	return false
}

var toDashes = strings.NewReplacer("_", "-", ".", "-")

// webSocketFields is how Go writes the beginning of the fields of RFC 6455.
const webSocketFields = "Sec-Websocket-"

// webSocketKey is the field with the nonce of a handshake.
var webSocketKey = spelled("Sec-Websocket-Key")

// spelled returns a canonical name as it is to be written: those of RFC 6455 as they are
// in there, since there are programs that know no other spelling.
func spelled(name string) string {
	if len(name) > len(webSocketFields) && name[:len(webSocketFields)] == webSocketFields {
		return "Sec-WebSocket-" + name[len(webSocketFields):]
	}
	return name
}

// hopByHop tells whether a header field is about the connection and not about the
// message (RFC 9110, section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// deleteNamed deletes from h what the Connection header names as being about the
// connection.
func deleteNamed(h http.Header, connection []string) {
	for _, list := range connection {
		switch list {
		case "keep-alive", "Keep-Alive", "close", "Upgrade", "upgrade":
			continue // which say nothing about other fields, and are nearly all there are
		}
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(textproto.TrimString(name))
			delete(h, name)
			delete(h, spelled(name))
		}
	}
}

// DropNamed deletes from h what its Connection header names as being about the connection, as a
// forwarder has to (RFC 9110, section 7.6.1). It is for who sets fields before the request is
// forwarded: a client that names those would have them deleted.
func DropNamed(h http.Header) {
	var kept []string
	dropped := false
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			name = textproto.TrimString(name)
			switch strings.ToLower(name) {
			case "close", "keep-alive", "te", "upgrade": // which the forwarder looks for
				kept = append(kept, name)
			default:
				dropped = true
				name = http.CanonicalHeaderKey(name)
				delete(h, name)
				delete(h, spelled(name))
			}
		}
	}
	switch {
	case !dropped:
	case len(kept) == 0:
		delete(h, "Connection")
	default:
		h["Connection"] = []string{strings.Join(kept, ", ")}
	}
}

// speaksForOthers tells whether a sender says with a header field for whom it
// speaks.
func speaksForOthers(name string) bool {
	switch name {
	case "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Real-Ip":
		return true
	}
	return false
}
