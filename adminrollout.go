package parachute

import (
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// changeRollout changes a rollout that is under way. It answers when what has left the
// line-up by that has drained.
func changeRollout(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	req := api.RolloutRequest{IfMatch: ifMatch(r)}
	if err == nil {
		if err = api.DecodeStrictly(body, &req); err != nil {
			err = invalidBody(err.Error())
		}
	}
	if err != nil {
		writeError(w, err, nil)
		return
	}
	outlastReadTimeout(w)
	result, err := e.Rollout(r.PathValue("service"), req)
	answer(w, result, err)
}

// previewService answers with a link that opens what not everybody gets of a service.
func previewService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	var ports forward.Ports
	if a := running.current(); a != nil {
		ports = a.ports()
	}
	link, err := e.Preview(r.PathValue("service"), ports)
	answer(w, link, err)
}
