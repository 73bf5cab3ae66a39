package parachute

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// isPing reports whether a load balancer in front asks with r whether clients should come.
func (h *Handler) isPing(r *http.Request) bool {
	return h.PingPath != "" && r.URL.Path == h.PingPath && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// answerPing says that clients should come, unless the process has been told to stop.
func answerPing(w http.ResponseWriter) {
	status, text := http.StatusOK, "ready\n"
	switch agent := currentAgent(); {
	case caddy.Exiting():
		status, text = http.StatusServiceUnavailable, "stopping\n"
	case agent != nil && !agent.Ready():
		status, text = http.StatusServiceUnavailable, "joining the fleet\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
