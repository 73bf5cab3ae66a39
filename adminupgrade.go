package parachute

import (
	"bytes"
	"context"
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
	for {
		r.Body = io.NopCloser(bytes.NewReader(body))
		if p.follows(r.Context()) {
			p.relay(w, r)
			return
		}
		c := &movableCall{ResponseWriter: w, body: body}
		if call(e, c, r); !c.moved {
			return
		}
		if c.deployment != "" {
			r.Header.Set(deploymentHeader, c.deployment)
			r.Header.Del("If-Match") // it was in that generation when the deployment was accepted
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
func (p *process) relay(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	admin := p.admin
	p.mu.Unlock()
	outlastReadTimeout(w)
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
	relay.ServeHTTP(w, r)
}
