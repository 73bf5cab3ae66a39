package parachute

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/parachute-proxy/parachute/internal/clientconn"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/passthrough"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// fastHandler is the handler of a server that has no other one.
type fastHandler struct{ *Handler }

// begunRequest is a request that was to be passed through, and has to go on as an ordinary one.
type begunRequest struct {
	*proxy.Begun
	request *passthrough.Request
	record  forward.Record
}

// ServeFast implements [clientconn.FastHandler].
func (h fastHandler) ServeFast(c *clientconn.Conn, w http.ResponseWriter, r *http.Request, trusted bool, begun any) {
	b, _ := begun.(*begunRequest)
	if b != nil && h.accessLog != nil {
		// Caddy's server would take the time of the request from now on.
		answer := caddyhttp.NewResponseRecorder(w, nil, nil)
		defer h.accessLog.logBegun(b, answer)
		w = answer
	}
	_ = h.serve(c, w, r, trusted, nil, b) // a server of ours alone has no error routes
}

// PassThrough implements [clientconn.FastHandler].
func (h fastHandler) PassThrough(c *clientconn.Conn, r *passthrough.Request) (answered bool, begun any) {
	switch {
	case h.Service != "", h.TargetHeader != "", h.PingPath != "" && r.Path == h.PingPath, !h.guards.AreMet(r.Context, c):
		return false, nil
	case h.MaxHeaderSize > 0 && int64(r.Size+len(r.Head.Fields)) > h.MaxHeaderSize: // with a space behind each colon
		return false, nil
	case h.accessLog != nil:
		r.Log = h.accessLog
	case h.logs:
		return false, nil
	}
	answered, b := h.engine.PassThrough(r)
	if b == nil {
		return answered, nil
	}
	return false, &begunRequest{Begun: b, request: r}
}

var _ clientconn.FastHandler = fastHandler{}
