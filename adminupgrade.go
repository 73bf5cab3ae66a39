package parachute

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// upgradeProxy has another process take over from this one. It answers when that one serves.
func upgradeProxy(_ *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	var req api.UpgradeRequest
	err := readOptionalBody(r, &req)
	var timeout api.Duration
	if err == nil {
		timeout, err = req.Resolve()
	}
	if err != nil {
		writeError(w, err, nil)
		return
	}
	outlastReadTimeout(w)
	start := time.Now()
	result := api.Upgrade{From: thisProcess.status()}
	ctx, cancel := context.WithTimeoutCause(r.Context(), time.Duration(timeout), errors.New("the new process has not served in time, and was killed"))
	defer cancel()
	if result.To, err = thisProcess.upgrade(ctx); err != nil {
		err = &api.Error{
			Code: api.CodeUpgrade, Message: "no other process has taken over: " + api.Printable(err.Error()) + "; this one goes on",
			Hint: "the log of the proxy has what the new process said",
		}
		writeError(w, err, nil)
		return
	}
	result.Elapsed = api.Since(start)
	writeJSON(w, http.StatusOK, result)
}

// listProcesses answers with the processes of the proxy: this one, and those that it has taken
// over from and that still have clients.
func listProcesses(_ *proxy.Engine, w http.ResponseWriter, _ *http.Request) {
	all := api.ProcessList{Processes: []api.Process{thisProcess.status()}}
	all.Processes = append(all.Processes, tell{thisProcess}.all().Processes()...)
	writeJSON(w, http.StatusOK, all)
}

// movableCall is a call of the API that may have to be made to another process, which has taken
// over from this one since the call began.
type movableCall struct {
	http.ResponseWriter
	body []byte
	// deployment is the id of the one that it has asked for.
	deployment string
	// moved says that nothing has come of it here.
	moved bool
	// accepted says that it met its conditions here, and told that its caller has been told of
	// events.
	accepted, told bool
}

// deploymentHeader has the id of a deployment that has moved from one process to another.
const deploymentHeader = "Parachute-Deployment"

// Unwrap is for [http.ResponseController].
func (c *movableCall) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// serve makes a call, here or in the process that has taken over.
func (p *process) serve(call apiCall, e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	p.calls.Add(1)
	defer p.calls.Add(-1)
	body, err := readBody(r)
	if err != nil {
		writeError(w, err, nil)
		return
	}
	c := &movableCall{ResponseWriter: w, body: body}
	for {
		r.Body = io.NopCloser(bytes.NewReader(body))
		if p.follows(r.Context()) {
			p.relay(c, r)
			return
		}
		c.moved = false
		if call(e, c, r); !c.moved {
			return
		}
		if c.deployment != "" {
			r.Header.Set(deploymentHeader, c.deployment)
		}
	}
}

// carryOn has a deployment for which nobody waits go on in the process that takes over before it
// has begun to commit.
func (c *movableCall) carryOn(e *proxy.Engine, d *proxy.Deployment, r *http.Request) {
	again := r.Clone(context.Background())
	go func() {
		if _, err := d.Wait(context.Background()); errors.Is(err, proxy.ErrElsewhere) {
			again.Header.Set(deploymentHeader, d.ID())
			again.Header.Del("If-Match")
			again.Body = io.NopCloser(bytes.NewReader(c.body))
			thisProcess.serve(deployService, e, discardAnswer{http.Header{}}, again)
		}
	}()
}

// awaitDrains waits until the process that has taken over from this one, if one has, holds nothing of
// older releases of a service either: only then may the caller of a deployment be told that it is
// done.
func (p *process) awaitDrains(ctx context.Context, service string) {
	if !p.follows(ctx) {
		return
	}
	p.mu.Lock()
	admin := p.admin
	p.mu.Unlock()
	c, err := client.New(admin.String())
	if err != nil {
		return
	}
	for {
		var s api.ServiceStatus
		err := c.Call(ctx, http.MethodGet, api.ServicePath(service), nil, &s)
		if err != nil || len(s.Draining) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(drainLook):
		}
	}
}

// drainLook is how often is looked whether another process has drained a release.
const drainLook = 200 * time.Millisecond

// discardAnswer is for calls that nobody waits for.
type discardAnswer struct{ header http.Header }

func (d discardAnswer) Header() http.Header         { return d.header }
func (d discardAnswer) Write(p []byte) (int, error) { return len(p), nil }
func (d discardAnswer) WriteHeader(int)             {}

// relay makes a call to the process that has taken over. It waits for that one to accept it.
func (p *process) relay(c *movableCall, r *http.Request) {
	p.mu.Lock()
	admin := p.admin
	p.mu.Unlock()
	outlastReadTimeout(c)
	if c.accepted {
		r.Header.Del("If-Match") // which names what this process knows the service by
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, admin.Network, admin.Address)
	}}
	relay := httputil.ReverseProxy{
		Transport: tr, FlushInterval: -1,
		Rewrite: func(out *httputil.ProxyRequest) {
			out.SetURL(&url.URL{Scheme: "http", Host: out.In.Host})
			out.Out.Host = out.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { writeError(w, proxy.ErrElsewhere, nil) },
	}
	if !c.told {
		relay.ServeHTTP(c.ResponseWriter, r)
		return
	}
	relay.ModifyResponse = refusalAsEvent
	relay.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
		_ = json.NewEncoder(w).Encode(refused(proxy.ErrElsewhere))
	}
	relay.ServeHTTP(continued{c.ResponseWriter, make(http.Header)}, r)
}

// continued is an answer whose header has been sent.
type continued struct {
	http.ResponseWriter
	header http.Header
}

// Header returns what is ignored, as is what WriteHeader is told.
func (c continued) Header() http.Header { return c.header }

// WriteHeader does nothing.
func (continued) WriteHeader(int) {}

// Unwrap is for [http.ResponseController].
func (c continued) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// refusalAsEvent has the process that has taken over refuse what a caller follows by an event, as it
// expects.
func refusalAsEvent(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var answer struct{ Error *api.Error }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error == nil {
		answer.Error = proxy.ErrElsewhere
	}
	_ = resp.Body.Close()
	line, err := json.Marshal(refused(answer.Error))
	resp.Body = io.NopCloser(bytes.NewReader(append(line, '\n')))
	resp.ContentLength = -1
	return err
}

// refused is the end of a deployment that the process that has taken over has not begun.
func refused(err *api.Error) api.Event {
	now := time.Now().UTC()
	return api.Event{Kind: api.EventEnded, Time: now, Result: &api.DeploymentStatus{
		State: api.StateFailed, Targets: []string{}, Started: now, Ended: &now, Error: err,
	}}
}
