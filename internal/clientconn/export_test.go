package clientconn

import (
	"net/http"
	"time"
)

// CaddyServer returns Caddy's server, which the fast path goes past.
func (p *FastPath) CaddyServer() http.Handler { return p.caddyServer }

// SetCaddyServer replaces it.
func (p *FastPath) SetCaddyServer(h http.Handler) { p.caddyServer = h }

// Age makes what is known of clients that are not trusted older by d.
func (p *FastPath) Age(d time.Duration) { f := p.facts[0].Load(); f.since = f.since.Add(-d) }

// Knows reports whether p knows facts of the client of c that are fresh.
func (p *FastPath) Knows(c *Conn) bool { return p.known(c) != nil }

// Pair is connPair.
var Pair = connPair
