package parachute

import (
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

func listReleases(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	history, err := e.History(r.Context(), r.PathValue("service"))
	answer(w, history, err)
}

// rollBackService goes back to a release that has served. A call without a body goes back
// to the one before.
func rollBackService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	req := api.RollbackRequest{IfMatch: ifMatch(r)}
	if err := readOptionalBody(r, &req); err != nil {
		writeError(w, err, nil)
		return
	}
	d, err := e.Rollback(r.Context(), r.PathValue("service"), req)
	answerDeployment(w, r, d, err)
}
