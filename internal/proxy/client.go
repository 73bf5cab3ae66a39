package proxy

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Client is what the host knows about the sender of a request.
type Client struct {
	// Trusted says that the sender is a proxy whose forwarding headers are
	// believed.
	Trusted bool
}

// forwardingHeaders are the headers in which a sender says for whom it speaks.
var forwardingHeaders = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
	"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Real-Ip",
}

// setForwarded tells the target where the request comes from. What an untrusted
// sender says about it is replaced.
func (c Client) setForwarded(in, out *http.Request, x *exchange) {
	for _, name := range forwardingHeaders {
		if values, ok := in.Header[name]; ok && c.Trusted {
			out.Header[name] = values
		} else {
			delete(out.Header, name)
		}
	}
	peer, _, err := net.SplitHostPort(in.RemoteAddr)
	if err != nil {
		peer = in.RemoteAddr
	}
	h := out.Header
	h.Set("X-Forwarded-For", strings.Join(append(slices.Clone(h["X-Forwarded-For"]), peer), ", "))
	setAbsent(h, "X-Forwarded-Host", in.Host)
	proto := "http"
	if in.TLS != nil {
		proto = "https"
	}
	setAbsent(h, "X-Forwarded-Proto", proto)
	if x.prefix != "/" && x.release.options.StripPathPrefix {
		setAbsent(h, "X-Forwarded-Prefix", x.prefix)
	}
	setAbsent(h, "X-Request-Start", fmt.Sprintf("t=%d", time.Now().UnixMilli()))
	if h.Get("X-Request-Id") == "" {
		h.Set("X-Request-Id", rand.Text())
	}
}

func setAbsent(h http.Header, name, value string) {
	if h.Get(name) == "" {
		h.Set(name, value)
	}
}
