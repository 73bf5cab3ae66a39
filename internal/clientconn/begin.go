package clientconn

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// Guards are what the requests of one server are guarded with: against clients that
// stall, that go away, and that still send when they have been answered.
type Guards struct {
	stall stallLimit
	// watch says that we may take it over from the server to notice that a client goes
	// away.
	watch bool
}

// Guard returns the guards for the requests of server. A client may stall for stall, or
// for as long as the server allows if stall is 0. watch says that no other handler serves
// a request after ours has: the server would not tell that one that its client goes away.
func Guard(server *caddyhttp.Server, stall time.Duration, watch bool, logger *zap.Logger) Guards {
	server.RegisterConnContext(withConn)
	return Guards{stall: stallLimit{limit: stall, logger: logger}.on(server), watch: watch}
}

// Request is a request that is guarded.
type Request struct {
	// AllowSilence, if not nil, lets the client be silent from here on, although its
	// request has not come to its end.
	AllowSilence func()

	conn     *Conn
	body     *body
	watching bool
	done     func()
}

// Begin applies the guards to a request that came by c, which is nil if the connection
// is not one of ours. It returns the writer and the request to go on with. Done of the
// result has to be called when the request has been served.
func (g *Guards) Begin(c *Conn, w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, Request) {
	if r.ContentLength != 0 {
		// The guards replace the body, and the server looks into its own request
		// afterwards.
		r = r.WithContext(r.Context())
	}
	req := Request{conn: c}
	if c != nil && r.ProtoMajor == 1 {
		req.body = c.beginBody(r)
	}
	w, r, guarded := g.stall.guard(c, w, r)
	req.done, req.AllowSilence = guarded.done, guarded.allowSilence
	req.watching = g.watch && c.beginWatch(r)
	return w, r, req
}

// AreMet reports whether a request without a body that came by c, whose context is ctx, needs no guard: the
// server tells when the client goes away, and the system when it stalls.
func (g *Guards) AreMet(ctx context.Context, c *Conn) bool {
	return c.serverTells && (g.stall.limit == 0 || g.stall.boundBySystem(ctx, c))
}

// Watched returns the connection that tells when the client goes away, or nil if the
// context of the request tells it.
func (r *Request) Watched() *Conn {
	if !r.watching {
		return nil
	}
	return r.conn
}

// Done ends the guards. The body comes last: its end moves the deadline of the
// connection, which the limit of stalls moves as well.
func (r *Request) Done() {
	if r.watching {
		r.conn.endWatch()
	}
	r.done()
	if r.body != nil {
		r.conn.endBody(r.body)
	}
}
