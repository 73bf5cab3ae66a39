package parachute

import (
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// holdService pauses or stops a service. A call without a body does so with the defaults.
func holdService(mode api.HoldMode) apiCall {
	return func(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
		body, err := readBody(r)
		if err != nil {
			writeError(w, err, nil)
			return
		}
		var req api.HoldRequest
		if len(body) > 0 {
			if err := api.DecodeStrictly(body, &req); err != nil {
				writeError(w, invalidBody(err.Error()), nil)
				return
			}
		}
		outlastReadTimeout(w)
		result, err := e.Hold(r.Context(), r.PathValue("service"), mode, req)
		answerHold(w, result, err)
	}
}

func resumeService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	result, err := e.Resume(r.PathValue("service"))
	answerHold(w, result, err)
}

func answerHold(w http.ResponseWriter, result api.HoldResult, err error) {
	if err != nil {
		writeError(w, err, nil)
		return
	}
	writeJSON(w, http.StatusOK, result)
}
