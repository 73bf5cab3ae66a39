package clientconn

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

	"github.com/parachute-proxy/parachute/internal/http1"
	"github.com/parachute-proxy/parachute/internal/passthrough"
)

// FastHandler is our handler.
type FastHandler interface {
	// ServeFast serves a request that came by c. trusted says that the client is a trusted proxy. begun is what
	// PassThrough has begun of it, or nil.
	ServeFast(c *Conn, w http.ResponseWriter, r *http.Request, trusted bool, begun any)
	// PassThrough passes a request through, that came by c from a client that is no trusted proxy. What it has
	// begun of one that it has not answered is for the ordinary request that is made of that; nil for nothing.
	PassThrough(c *Conn, r *passthrough.Request) (answered bool, begun any)
}

// FastPath serves requests without Caddy's server, which makes a copy of each request
// for a line in a log, a replacer and half a dozen contexts before a handler gets it.
// That is a quarter of the CPU time of a small request, and of no use on a server that
// has no other handler than ours.
//
// Caddy's server handles the first request of each connection. What it says of that
// request holds for the next ones for a minute: whether the client is a trusted proxy,
// and which header fields every answer has. Where nobody is a trusted proxy, this is the
// same for all clients, and holds for the requests of all connections. Caddy's server
// also handles every request that it would refuse, change or answer itself.
//
// What Caddy puts into the context of a request is not there on the fast path.
type FastPath struct {
	handler FastHandler
	// caddyServer is Caddy's server, nil if the fast path is not taken. logs says that it logs requests: then only
	// those take the path that are passed through.
	caddyServer http.Handler
	logs        bool
	// sameForAll says that the facts of a client are those of all.
	sameForAll bool
	// facts are the newest ones, of clients that are not trusted and of those that are.
	// Nearly all connections share them.
	facts [2]atomic.Pointer[clientFacts]
}

// clientFacts are what Caddy says of a client.
type clientFacts struct {
	// by is whose facts they are: a connection can outlive the config that it came by, and
	// the next one may say something else.
	by      *FastPath
	since   time.Time
	trusted bool
	// header has the fields that all answers have. The same for requests that are passed through are server, for
	// an answer that has no such field, and fields. passable says that this is all.
	header         http.Header
	server, fields []http1.Field
	passable       bool
}

// fresh reports whether there are facts of p's and they are not too old: the list of trusted
// proxies may change.
func (f *clientFacts) fresh(p *FastPath) bool {
	return f != nil && f.by == p && time.Since(f.since) < time.Minute
}

// setFields sets what is made of header.
func (f *clientFacts) setFields() {
	f.passable = f.header["Date"] == nil
	for name, values := range f.header {
		for _, value := range values {
			field := http1.Field{Name: []byte(name), Value: []byte(value)}
			if name == "Server" {
				f.server = append(f.server, field)
			} else {
				f.fields = append(f.fields, field)
			}
		}
	}
}

// NewFastPath returns a fast path to handler for the requests of server. It is taken as
// owns says, which is asked when the first client connects. sameForAll says that
// Caddy says the same of all clients, because none of them is a trusted proxy.
func NewFastPath(server *caddyhttp.Server, owns func() Ownership, sameForAll bool, handler FastHandler) *FastPath {
	p := &FastPath{handler: handler, sameForAll: sameForAll}
	server.RegisterConnContext(p.install(owns))
	return p
}

// install returns a function for [caddyhttp.Server.RegisterConnContext] that puts the
// fast path before Caddy's server: there is no earlier moment at which Caddy shows us the
// [http.Server].
func (p *FastPath) install(owns func() Ownership) func(context.Context, net.Conn) context.Context {
	var once sync.Once
	return func(ctx context.Context, _ net.Conn) context.Context {
		// net/http has not read the Handler yet: it serves a connection after it has
		// called this for it.
		once.Do(func() {
			std, ok := ctx.Value(http.ServerContextKey).(*http.Server)
			if !ok {
				return
			}
			if o := owns(); o != NotOwned {
				p.logs = o == OwnedAndLogged
				p.caddyServer, std.Handler = std.Handler, p
			}
		})
		return ctx
	}
}

// ServeHTTP implements [http.Handler].
func (p *FastPath) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c := Of(r); c != nil && !p.logs && eligible(r) {
		if known := p.known(c); known != nil {
			maps.Copy(w.Header(), known.header)
			p.handler.ServeFast(c, w, r, known.trusted, nil)
			return
		}
	}
	p.caddyServer.ServeHTTP(w, r)
}

// PassThrough implements [passthrough.Handler].
func (p *FastPath) PassThrough(r *passthrough.Request) (answered bool, next http.Handler) {
	c, ok := r.Conn.(*Conn)
	if !ok || r.Host == "" || r.Host[0] == '.' || strings.HasPrefix(r.Host, "[.") {
		return false, nil
	}
	known := p.known(c)
	if known == nil || known.trusted || !known.passable {
		return false, nil
	}
	r.AnswerFields, r.ServerFields = known.fields, known.server
	answered, begun := p.handler.PassThrough(c, r)
	if begun == nil {
		return answered, nil
	}
	return false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), known.header)
		p.handler.ServeFast(c, w, r, false, begun)
	})
}

// known returns what is known of the client of c, or nil.
func (p *FastPath) known(c *Conn) *clientFacts {
	known := c.facts.Load()
	if known.fresh(p) {
		return known
	}
	if known = p.facts[0].Load(); !p.sameForAll || !known.fresh(p) {
		return nil
	}
	c.facts.Store(known)
	return known
}

// Remember keeps what Caddy says of the client of c, a request of which Caddy's server
// has just handed to our handler. p may be nil, and so may c.
func (p *FastPath) Remember(c *Conn, w http.ResponseWriter, trusted bool) {
	if p == nil || c == nil || p.caddyServer == nil || c.facts.Load().fresh(p) {
		return
	}
	newest := &p.facts[0]
	if trusted {
		newest = &p.facts[1]
	}
	known := newest.Load()
	if !known.fresh(p) || !maps.EqualFunc(known.header, w.Header(), slices.Equal) {
		known = &clientFacts{by: p, since: time.Now(), trusted: trusted, header: w.Header().Clone()}
		known.setFields()
		newest.Store(known)
	}
	c.facts.Store(known)
}

// eligible reports whether Caddy's server would hand r to its routes as it is.
func eligible(r *http.Request) bool {
	switch {
	case len(r.Method) > 32,
		r.Host == "", r.Host[0] == '.', strings.HasPrefix(r.Host, "[."), !httpguts.ValidHostHeader(r.Host),
		certmagic.LooksLikeHTTPChallenge(r), certmagic.LooksLikeZeroSSLHTTPValidation(r):
		return false
	}
	for name := range r.Header {
		if hasOddName(name) {
			return false
		}
	}
	return true
}

// knownSettings are the settings of a server with which the fast path can be taken. The
// fast path would leave out what other settings ask for.
var knownSettings = []string{
	// About connections, and about trusted proxies.
	"listen", "listener_wrappers", "packet_conn_wrappers", "protocols", "listen_protocols", "allow_0rtt",
	"read_timeout", "read_header_timeout", "write_timeout", "idle_timeout",
	"keepalive_interval", "keepalive_idle", "keepalive_count", "max_header_bytes",
	"tls_connection_policies", "automatic_https",
	"trusted_proxies", "trusted_proxies_strict", "trusted_proxies_unix", "client_ip_headers",
	// OwnershipOf looks at these itself, at the last three with the idle timeouts that they are part of.
	"routes", "strict_sni_host", "read_idle_timeout", "write_idle_timeout", "read_min_rate", "write_min_rate", "max_write_chunk",
}

// Ownership says whether a handler is all that there is to a server.
type Ownership int

const (
	// NotOwned is a server that has other routes, or a setting that we do not know.
	NotOwned Ownership = iota
	// OwnedAndLogged is a server that has one route, and logs its requests.
	OwnedAndLogged
	// Owned is a server that has one route.
	Owned
)

// OwnershipOf says whether h is all that there is to server.
func OwnershipOf(server *caddyhttp.Server, h caddyhttp.MiddlewareHandler) Ownership {
	strict := server.StrictSNIHost != nil && *server.StrictSNIHost
	if len(server.Routes) != 1 || strict || server.ReadIdleTimeout > 0 || server.WriteIdleTimeout > 0 {
		return NotOwned
	}
	route := server.Routes[0]
	if len(route.MatcherSets) > 0 || len(route.Handlers) != 1 || route.Handlers[0] != h {
		return NotOwned
	}
	config, err := json.Marshal(server)
	if err != nil {
		return NotOwned
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(config, &settings); err != nil {
		return NotOwned
	}
	owned := Owned
	for name := range settings {
		switch {
		case name == "logs":
			owned = OwnedAndLogged
		case !slices.Contains(knownSettings, name):
			return NotOwned
		}
	}
	return owned
}
