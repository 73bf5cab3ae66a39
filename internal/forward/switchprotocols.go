package forward

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// upgradeType returns the protocol that a request asks to switch to, or that a
// response switches to (RFC 9110, section 7.8).
func upgradeType(h http.Header) string {
	if len(h["Upgrade"]) == 0 || !httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") {
		return ""
	}
	return h.Get("Upgrade")
}

// extendedConnect returns the protocol that an extended CONNECT asks for, which is
// how HTTP/2 and 3 ask for a WebSocket (RFC 8441, RFC 9220). Others than that have
// no counterpart in HTTP/1.1.
func extendedConnect(in *http.Request) string {
	protocol := ""
	switch {
	case in.Method != http.MethodConnect:
	case in.ProtoMajor == 2:
		protocol = in.Header.Get(":protocol")
	case in.ProtoMajor == 3 && in.Proto != "HTTP/3.0":
		protocol = in.Proto // where quic-go puts it
	}
	if protocol != "websocket" {
		return ""
	}
	return protocol
}

// upgradeWanted returns the protocol that the client wants to switch to, or "".
func (x *exchange) upgradeWanted() string {
	if protocol := extendedConnect(x.in); protocol != "" {
		return protocol
	}
	if x.in.ProtoMajor != 1 {
		return ""
	}
	protocol := upgradeType(x.in.Header)
	// HTTP/2 has dropped its upgrade (RFC 9113, section 3.1). Behind it, the
	// connection would be a tunnel that no route and no header rule applies to.
	if strings.EqualFold(protocol, "h2c") {
		return ""
	}
	return protocol
}

// newWebSocketKey returns the nonce of a handshake (RFC 6455, section 4.1).
func newWebSocketKey() string {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(key[:])
}

// acceptsWebSocket reports whether a target's answer belongs to key.
func acceptsWebSocket(h http.Header, key string) bool {
	return h.Get("Sec-WebSocket-Accept") == acceptKey(key)
}

// acceptKey is what a server answers to a key (RFC 6455, section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var errNoSwitch = errors.New("the target answered as if it had opened a tunnel")

var errSwitch = errors.New("the target switched to a protocol that was not asked for")

// switchProtocols connects the client with the target, which has agreed to speak
// another protocol. It reports whether the exchange goes on after it has returned.
// An error means that nothing has been written.
func (x *exchange) switchProtocols(resp *http.Response, wanted string) (detached bool, err error) {
	up := tunnelTo(resp, wanted, x.release.Traffic)
	if up == nil || wanted == "" || !strings.EqualFold(upgradeType(resp.Header), wanted) {
		_ = resp.Body.Close()
		return false, wrap(ErrBadGateway, errSwitch)
	}
	if x.in.Method == http.MethodConnect {
		if !acceptsWebSocket(resp.Header, resp.Request.Header[webSocketKey][0]) {
			_ = resp.Body.Close()
			return false, wrap(ErrBadGateway, errSwitch)
		}
		return false, x.openStream(resp, up)
	}
	return x.hijack(resp, up)
}

// tunnelTo returns the target's side of a connection that has switched
// protocols, or nil if resp has none. t counts what is said on it.
func tunnelTo(resp *http.Response, protocol string, t *Traffic) *tunnelConn {
	websocket := strings.EqualFold(protocol, "websocket")
	switch body := resp.Body.(type) {
	case *transport.Switched:
		return newTunnelConn(body, body.NetConn(), websocket, t)
	case io.ReadWriteCloser:
		// It came through net/http, which says by another way what is below.
		if conn := gotConn(resp.Request.Context()); conn != nil {
			return newTunnelConn(body, conn, websocket, t)
		}
	}
	return nil
}

// hijack takes the client's connection from the server and copies from here on in
// goroutines of its own: the server's, with all that a request has, would cost more
// than an idle stream does.
func (x *exchange) hijack(resp *http.Response, up *tunnelConn) (bool, error) {
	h, protocol := x.w.Header(), resp.Header["Upgrade"]
	x.copyAnswerHeader(h, resp)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, protocol
	x.status = http.StatusSwitchingProtocols
	x.w.WriteHeader(http.StatusSwitchingProtocols)
	x.releaseClient() // which is the tunnel's from here on
	// The writers around the server's may count what is said on the connection for the access log, as
	// Caddy's do. Its line is written when the handler returns, while the tunnel goes on.
	client, buffered, err := http.NewResponseController(unwrapWriter(x.w)).Hijack()
	if err != nil {
		_ = up.Close()
		return false, wrap(ErrBrokenOff, err) // the answer is on its way
	}
	up.closeClient = func() { _ = client.Close() }
	x.becomeStream(up)
	// What the client has sent already has to be read before the reader goes.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	if len(early) > 0 {
		early = append([]byte(nil), early...)
	}
	go x.slot.tunnel(up, client, early)
	return true, nil
}

// hangUpAgain is the pause after which a writer that has not listened is told again.
const hangUpAgain = 100 * time.Millisecond

// openStream answers an extended CONNECT and copies until the stream ends.
func (x *exchange) openStream(resp *http.Response, up *tunnelConn) error {
	h := x.w.Header()
	delete(resp.Header, "Sec-Websocket-Accept")
	x.copyAnswerHeader(h, resp)
	// The wrappers of the writer are not made for two goroutines.
	rc := http.NewResponseController(unwrapWriter(x.w))
	// The writer must not be touched any more when the handler has returned.
	var mu sync.Mutex
	returned := false
	up.isStream = true
	up.closeClient = func() {
		mu.Lock()
		defer mu.Unlock()
		if returned {
			return
		}
		_ = x.in.Body.Close()
		_ = rc.SetWriteDeadline(longAgo)
		if x.in.ProtoMajor == 3 {
			// A write that was about to begin has perhaps put its own deadline over
			// this one. HTTP/2 has no use for the second word: the first was a reset.
			time.AfterFunc(hangUpAgain, up.closeClient)
		}
	}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		returned = true
	}()
	x.becomeStream(up)
	x.status = http.StatusOK
	x.count(x.status, nil)
	x.w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(x.w).Flush()
	return x.copyStream(up)
}
