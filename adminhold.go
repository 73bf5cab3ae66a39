package parachute

import (
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// holdService pauses or stops a service. A call without a body does so with the defaults.
func holdService(mode api.HoldMode) apiCall {
	return func(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
		req := api.HoldRequest{IfMatch: ifMatch(r)}
		if err := readOptionalBody(r, &req); err != nil {
			writeError(w, err, nil)
			return
		}
		outlastReadTimeout(w)
		result, err := e.Hold(r.Context(), r.PathValue("service"), mode, req)
		answer(w, result, err)
	}
}

func resumeService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	result, err := e.Resume(r.PathValue("service"), ifMatch(r))
	answer(w, result, err)
}
