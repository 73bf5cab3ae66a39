package parachute

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"golang.org/x/net/http/httpguts"
)

// shortcut serves requests without Caddy's server, which makes a copy of each of them
// for a line in a log, a replacer and half a dozen contexts before a handler gets it.
// That is a quarter of the CPU time of a small request, and of no use to anybody where
// our handler is all there is.
//
// The first request of a connection goes the whole way. What Caddy says of it holds for
// those that follow, for a minute: whether the client is trusted, and what every answer
// has in its header. What Caddy would refuse, change or answer itself goes the whole way,
// too.
//
// Whatever else is in the request's context on the whole way is not on the shortcut.
type shortcut struct {
	handler *Handler
	// whole is the whole way: Caddy's server.
	whole http.Handler
	// introductions are those that were made last, of clients that are not trusted and
	// of those that are. Nearly all connections share them.
	introductions [2]atomic.Pointer[introduction]
}

// introduction is what Caddy says of a client.
type introduction struct {
	since   time.Time
	trusted bool
	// header is what all answers have in their header.
	header http.Header
}

// holds reports whether a client has been introduced, and not too long ago: who is
// trusted may be on a list that changes.
func (i *introduction) holds() bool { return i != nil && time.Since(i.since) < time.Minute }

// install returns what has the shortcut taken on server, if that has nothing which
// would be left out. It is for [caddyhttp.Server.RegisterConnContext], since there is
// no earlier moment at which we are shown the [http.Server].
func (s *shortcut) install(server *caddyhttp.Server) func(context.Context, net.Conn) context.Context {
	var once sync.Once
	return func(ctx context.Context, _ net.Conn) context.Context {
		// Nobody has looked at the handler yet: who serves a connection begins after
		// this has been called for it.
		once.Do(func() {
			std, ok := ctx.Value(http.ServerContextKey).(*http.Server)
			if ok && s.handler.isAllOf(server) {
				s.whole, std.Handler = std.Handler, s
			}
		})
		return ctx
	}
}

// ServeHTTP implements [http.Handler].
func (s *shortcut) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c := clientConnOf(r); c != nil && isOrdinary(r) {
		if known := c.introduction.Load(); known.holds() {
			maps.Copy(w.Header(), known.header)
			_ = s.handler.serve(c, w, r, known.trusted, nil) // has no error routes to leave errors to
			return
		}
	}
	s.whole.ServeHTTP(w, r)
}

// introduce remembers what Caddy says of a client, a request of which has gone the whole
// way.
func (s *shortcut) introduce(c *clientConn, w http.ResponseWriter, trusted bool) {
	if s == nil || c == nil || s.whole == nil || c.introduction.Load().holds() {
		return
	}
	last := &s.introductions[0]
	if trusted {
		last = &s.introductions[1]
	}
	known := last.Load()
	if !known.holds() || !maps.EqualFunc(known.header, w.Header(), slices.Equal) {
		known = &introduction{time.Now(), trusted, w.Header().Clone()}
		last.Store(known)
	}
	c.introduction.Store(known)
}

// isOrdinary reports whether Caddy's server would hand r to its routes as it is.
func isOrdinary(r *http.Request) bool {
	switch {
	case len(r.Method) > 32,
		r.Host == "", r.Host[0] == '.', strings.HasPrefix(r.Host, "[."), !httpguts.ValidHostHeader(r.Host),
		certmagic.LooksLikeHTTPChallenge(r), certmagic.LooksLikeZeroSSLHTTPValidation(r):
		return false
	}
	for name := range r.Header {
		if strings.ContainsAny(name, "_.") {
			return false
		}
	}
	return true
}

// knownSettings are the settings of a server that the shortcut can be taken with. What
// others do would be left out.
var knownSettings = []string{
	// Of its connections, and of who is trusted.
	"listen", "listener_wrappers", "packet_conn_wrappers", "protocols", "listen_protocols", "allow_0rtt",
	"read_timeout", "read_header_timeout", "write_timeout", "idle_timeout",
	"keepalive_interval", "keepalive_idle", "keepalive_count", "max_header_bytes",
	"tls_connection_policies", "automatic_https",
	"trusted_proxies", "trusted_proxies_strict", "trusted_proxies_unix", "client_ip_headers",
	// Looked at by isAllOf, the last three with the idle timeouts that they are part of.
	"routes", "read_idle_timeout", "write_idle_timeout", "read_min_rate", "write_min_rate", "max_write_chunk",
}

// isAllOf reports whether h is all that there is to server: it has no other routes, no
// log of its requests, no metrics, and no setting that we do not know.
func (h *Handler) isAllOf(server *caddyhttp.Server) bool {
	if len(server.Routes) != 1 || h.PassThru || server.ReadIdleTimeout > 0 || server.WriteIdleTimeout > 0 {
		return false
	}
	route := server.Routes[0]
	if len(route.MatcherSets) > 0 || len(route.Handlers) != 1 || route.Handlers[0] != caddyhttp.MiddlewareHandler(h) {
		return false
	}
	app, err := h.app.ctx.AppIfConfigured("http")
	if err != nil || app.(*caddyhttp.App).Metrics != nil {
		return false
	}
	config, err := json.Marshal(server)
	if err != nil {
		return false
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(config, &settings); err != nil {
		return false
	}
	for name := range settings {
		if !slices.Contains(knownSettings, name) {
			return false
		}
	}
	return true
}
