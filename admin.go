package parachute

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// maxRequestBody bounds the body of an API request, in bytes.
const maxRequestBody = 1 << 20

// maxDiscardedBody bounds how much more of a body is read before it is refused.
const maxDiscardedBody = 64 << 20

// adminAPI is the JSON API on Caddy's admin endpoint. docs/openapi.yaml
// describes it. It keeps no state: Caddy makes a new one for every config, before
// the config's apps.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.parachute", New: func() caddy.Module { return adminAPI{} }}
}

// Routes implements caddy.AdminRouter.
func (adminAPI) Routes() []caddy.AdminRoute {
	mux := http.NewServeMux()
	for pattern, call := range map[string]apiCall{
		"GET " + api.PathServices:                             listServices,
		"GET " + api.PathServices + "/{service}":              getService,
		"DELETE " + api.PathServices + "/{service}":           removeService,
		"POST " + api.PathServices + "/{service}/deployments": deployService,
		"POST " + api.PathDeployments:                         deployService,
		"GET " + api.PathServices + "/{service}/releases":     listReleases,
		"POST " + api.PathServices + "/{service}/rollback":    rollBackService,
		"POST " + api.PathServices + "/{service}/pause":       holdService(api.Paused),
		"POST " + api.PathServices + "/{service}/stop":        holdService(api.Stopped),
		"POST " + api.PathServices + "/{service}/resume":      resumeService,
		"PUT " + api.PathServices + "/{service}/rollout":      changeRollout,
		"POST " + api.PathServices + "/{service}/preview":     previewService,
		"GET " + api.PathDeployments + "/{id}":                getDeployment,
		"GET " + api.PathEvents:                               followEvents,
		"GET " + api.PathFleet:                                fleetStatus,
		"DELETE " + api.PathFleet:                             leaveTheFleet,
		"DELETE " + api.PathFleet + "/members/{name}":         forgetMember,
		"POST " + api.PathFleetRestore:                        restoreFleet,
		"GET " + api.PathProcesses:                            listProcesses,
		"POST " + api.PathUpgrade:                             upgradeProxy,
		"GET " + api.PathVersion:                              getVersion,
	} {
		mux.Handle(pattern, call)
	}
	// What no pattern matches is answered in the API's own form too.
	mux.HandleFunc("/parachute/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, &api.Error{
			Code:    api.CodeNotFound,
			Message: fmt.Sprintf("the API has no %s %s", r.Method, api.Printable(r.URL.Path)),
		}, nil)
	})
	return []caddy.AdminRoute{{
		Pattern: "/parachute/",
		Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if !front.Introduced(r) {
				mux.ServeHTTP(w, r)
			}
			return nil
		}),
	}}
}

// apiCall is one call of the API, on the engine that is running when it is made.
type apiCall func(e *proxy.Engine, w http.ResponseWriter, r *http.Request)

func (call apiCall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := running.engine()
	if e == nil {
		writeError(w, &api.Error{
			Code:    api.CodeStopping,
			Message: "this Caddy's config does not use parachute, or it is just starting or stopping",
			Hint:    "add the parachute directive to a site",
		}, nil)
		return
	}
	thisProcess.serve(call, e, w, r)
}

func listServices(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	share := fleetShares(r.Context())
	w.Header().Set("Content-Type", api.MediaJSON)
	// One by one: ten thousand services are megabytes.
	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = out.WriteString(`{"services":[`)
	for i, s := range e.Services() {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		s.Proxies = share(s.Name)
		if b, err := json.Marshal(s); err == nil { // it has no way to fail
			_, _ = out.Write(b)
		}
	}
	_, _ = out.WriteString("]}\n")
	_ = out.Flush()
}

func getService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	status, err := e.Service(r.PathValue("service"))
	if err == nil {
		w.Header().Set("ETag", `"`+status.Generation+`"`)
		status.Proxies = fleetShares(r.Context())(status.Name)
	}
	answer(w, status, err)
}

func getDeployment(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	d, err := e.Deployment(r.PathValue("id"))
	if err != nil {
		writeError(w, err, nil)
		return
	}
	writeJSON(w, http.StatusOK, d.Status())
}

func getVersion(_ *proxy.Engine, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, cli.RunningVersions())
}

func removeService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	outlastReadTimeout(w)
	req := api.RemoveRequest{IfMatch: ifMatch(r)}
	for name, d := range map[string]**api.Duration{"drain_timeout": &req.DrainTimeout, "stream_timeout": &req.StreamTimeout} {
		if s := r.URL.Query().Get(name); s != "" {
			parsed, err := api.ParseDuration(s)
			if err != nil {
				writeError(w, &api.Error{Code: api.CodeInvalid, Message: name + ": " + err.Error()}, nil)
				return
			}
			*d = &parsed
		}
	}
	var err error
	if req.FailOnCut, err = boolQuery(r, "fail_on_cut"); err != nil {
		writeError(w, err, nil)
		return
	}
	removal, err := e.Remove(r.PathValue("service"), req)
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, removal)
	case removal.Drained == nil:
		writeError(w, err, nil) // nothing was removed
	default:
		writeError(w, err, removal)
	}
}

// ifMatch returns the generations of a service that a call is for, or nothing.
func ifMatch(r *http.Request) string { return strings.Join(r.Header.Values("If-Match"), ",") }

// boolQuery returns a query parameter that is true or false, which is what it is without it.
func boolQuery(r *http.Request, name string) (bool, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, &api.Error{Code: api.CodeInvalid, Message: name + " has to be true or false"}
	}
	return on, nil
}

func deployService(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	p, err := readPatch(r)
	if err != nil {
		writeError(w, err, nil)
		return
	}
	dryRun, err := boolQuery(r, "dry_run")
	if err != nil {
		writeError(w, err, nil)
		return
	}
	if dryRun {
		plan, err := e.Plan(p)
		answer(w, plan, err)
		return
	}
	var d *proxy.Deployment
	if id := r.Header.Get(deploymentHeader); deploymentID.MatchString(id) {
		d, err = e.DeployAs(id, p, ifMatch(r))
	} else {
		d, err = e.DeployIfMatch(p, ifMatch(r))
	}
	if c, ok := w.(*movableCall); ok && err == nil {
		if c.deployment = d.ID(); d.Detached() {
			c.carryOn(e, d, r)
		}
	}
	answerDeployment(w, r, d, err)
}

// deploymentID is the form of the ids of deployments.
var deploymentID = regexp.MustCompile(`^[a-z2-7]{12}$`)

// answerDeployment answers a call that has a deployment accepted, or why it was not.
func answerDeployment(w http.ResponseWriter, r *http.Request, d *proxy.Deployment, err error) {
	if err != nil {
		writeError(w, err, nil)
		return
	}
	if c, ok := w.(*movableCall); ok {
		c.accepted = true
	}
	if d.Detached() {
		writeJSON(w, http.StatusAccepted, d.Status())
		return
	}
	outlastReadTimeout(w)
	if strings.Contains(r.Header.Get("Accept"), api.MediaNDJSON) {
		streamEvents(w, r, d)
		return
	}
	status, err := d.Wait(r.Context())
	thisProcess.awaitDrains(r.Context(), status.Service)
	if err != nil {
		cancelIfGone(r, d)
		writeError(w, err, status)
		return
	}
	writeJSON(w, http.StatusOK, status)
}

// streamEvents writes a line for every event of d.
func streamEvents(w http.ResponseWriter, r *http.Request, d *proxy.Deployment) {
	w.Header().Set("Content-Type", api.MediaNDJSON)
	encoder, controller := json.NewEncoder(w), http.NewResponseController(w)
	err := d.Events(r.Context(), func(ev api.Event) error {
		if c, ok := w.(*movableCall); ok && ev.Result != nil && ev.Result.Error == proxy.ErrElsewhere {
			c.moved = true // the caller is told of the rest by the process that goes on
			return nil
		}
		if ev.Kind == api.EventEnded {
			thisProcess.awaitDrains(r.Context(), ev.Result.Service)
		}
		if c, ok := w.(*movableCall); ok {
			c.told = true
		}
		if err := encoder.Encode(ev); err != nil {
			return err
		}
		return controller.Flush()
	})
	if err != nil {
		d.Cancel() // no one is left to read
	}
}

// cancelIfGone ends a deployment whose caller has gone away: the caller is who
// would be told what happened, so without one nothing may happen any more. Once
// the switch is under way, it does nothing.
func cancelIfGone(r *http.Request, d *proxy.Deployment) {
	if r.Context().Err() != nil {
		d.Cancel()
	}
}

// outlastReadTimeout lifts the read timeout of Caddy's admin server for a call
// that takes long: when it strikes, net/http takes the caller for gone.
func outlastReadTimeout(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// readPatch reads what to deploy: the body, and the service in the path, if it is there.
func readPatch(r *http.Request) (api.Patch, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	p, err := api.ParsePatch(body)
	if err != nil {
		return nil, invalidBody(err.Error())
	}
	name := r.PathValue("service")
	if name == "" {
		return p, nil
	}
	if inBody, _ := p["service"].(string); inBody != "" && inBody != name {
		return nil, &api.Error{
			Code:    api.CodeInvalid,
			Message: fmt.Sprintf("the body names the service %s, the path %s", api.Printable(inBody), api.Printable(name)),
		}
	}
	p.Set("service", name)
	return p, nil
}

// readBody reads a request's body, which is small.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBody+1))
	if err != nil {
		return nil, invalidBody("reading it: " + err.Error())
	}
	if len(body) > maxRequestBody {
		// A caller that is still writing when the connection closes would see
		// that instead of the answer.
		_, _ = io.CopyN(io.Discard, r.Body, maxDiscardedBody)
		return nil, invalidBody(fmt.Sprintf("it is larger than %d bytes", maxRequestBody))
	}
	return body, nil
}

// readOptionalBody decodes a request's body into what to points to. Without one, that is left
// as it is.
func readOptionalBody(r *http.Request, to any) error {
	body, err := readBody(r)
	if err != nil || len(body) == 0 {
		return err
	}
	if err := api.DecodeStrictly(body, to); err != nil {
		return invalidBody(err.Error())
	}
	return nil
}

func invalidBody(reason string) error {
	return &api.Error{Code: api.CodeInvalid, Message: "the body is not a valid request: " + api.Printable(reason)}
}

// errorStatus maps the codes of errors to HTTP statuses. A code that is not here has 500.
var errorStatus = map[api.Code]int{
	api.CodeInvalid:       http.StatusBadRequest,
	api.CodeNotHealthy:    http.StatusUnprocessableEntity,
	api.CodeCertificate:   http.StatusUnprocessableEntity,
	api.CodeRouteConflict: http.StatusConflict,
	api.CodeSuperseded:    http.StatusConflict,
	api.CodeVetoed:        http.StatusConflict,
	api.CodeCancelled:     http.StatusConflict,
	api.CodeReverted:      http.StatusConflict,
	api.CodeUndecided:     http.StatusConflict,
	api.CodeChanged:       http.StatusPreconditionFailed,
	api.CodeNotFound:      http.StatusNotFound,
	api.CodeDrainTimeout:  http.StatusGatewayTimeout,
	api.CodeStorage:       http.StatusInsufficientStorage,
	api.CodeStopping:      http.StatusServiceUnavailable,
	api.CodeUpgrade:       http.StatusBadGateway,
	api.CodeFleet:         http.StatusServiceUnavailable,
	api.CodeFleetUnknown:  http.StatusGatewayTimeout,

	api.CodeFleetIncomplete: http.StatusGatewayTimeout,
}

// writeError answers with err, and with the outcome it belongs to, if any.
func writeError(w http.ResponseWriter, err error, outcome any) {
	if c, ok := w.(*movableCall); ok && errors.Is(err, proxy.ErrElsewhere) {
		c.moved = true
		return
	}
	e := api.AsError(err)
	status, ok := errorStatus[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	body := map[string]any{"error": e}
	if outcome != nil {
		body["outcome"] = outcome
	}
	writeJSON(w, status, body)
}

// answer answers with result, or with err if there is one.
func answer(w http.ResponseWriter, result any, err error) {
	if err != nil {
		writeError(w, err, nil)
		return
	}
	writeJSON(w, http.StatusOK, result)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", api.MediaJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
