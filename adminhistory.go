package parachute

import (
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

func listReleases(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	history, err := e.History(r.Context(), r.PathValue("service"))
	if err != nil {
		writeError(w, err, nil)
		return
	}
	writeJSON(w, http.StatusOK, history)
}

// rollBackService goes back to a release that has served. A call without a body goes back
// to the one before.
func rollBackService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		writeError(w, err, nil)
		return
	}
	var req api.RollbackRequest
	if len(body) > 0 {
		if err := api.DecodeStrictly(body, &req); err != nil {
			writeError(w, invalidBody(err.Error()), nil)
			return
		}
	}
	d, err := e.Rollback(r.Context(), r.PathValue("service"), req)
	answerDeployment(w, r, d, err)
}
