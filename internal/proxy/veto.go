package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

const (
	// vetoTimeout bounds the question whether a deployment may switch.
	vetoTimeout = 30 * time.Second
	// maxVetoAnswer bounds the answer to it, in bytes.
	maxVetoAnswer = 64 << 10
)

// askBeforeSwitch asks those who may refuse the switch: the one whom the operator of the
// proxy has named, and the one whom the deploy has. Who does not answer refuses. It comes
// before the commit, so that one who takes time holds up no other operation.
func (o *operation) askBeforeSwitch() error {
	var asked []string
	if o.e.opts.BeforeSwitch != nil {
		asked = append(asked, o.e.opts.BeforeSwitch())
	}
	asked = append(asked, o.d.spec.Options.BeforeSwitch)
	for _, url := range asked {
		if url == "" {
			continue
		}
		if err := o.ask(url); err != nil {
			return err
		}
	}
	return nil
}

// ask returns an error if url does not let the deployment switch.
func (o *operation) ask(url string) error {
	body, err := json.Marshal(o.proposal())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(o.d.ctx, vetoTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return api.Invalid("%s: %v", api.Field("before_switch"), err)
	}
	req.Header.Set("Content-Type", api.MediaJSON)
	req.Header.Set("User-Agent", o.e.opts.UserAgent)
	// The transport alone follows no redirect.
	tr := &http.Transport{DisableKeepAlives: true, DialContext: o.e.forwarder.Dialer().DialContext}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		if cause := context.Cause(o.d.ctx); cause != nil {
			return cause
		}
		reason := forward.DialReason(err)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			reason = "no answer within " + vetoTimeout.String()
		}
		return vetoed(url, "it cannot be asked: "+reason)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxVetoAnswer))
	if err != nil {
		return vetoed(url, "its answer broke off")
	}
	verdict := struct {
		Allow  *bool  `json:"allow"`
		Reason string `json:"reason"`
	}{}
	_ = json.Unmarshal(answer, &verdict) // an answer need not be JSON
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return vetoed(url, cmp.Or(verdict.Reason, fmt.Sprintf("its answer is %d", resp.StatusCode)))
	case verdict.Allow != nil && !*verdict.Allow:
		return vetoed(url, cmp.Or(verdict.Reason, "it says no"))
	}
	return nil
}

// proposal is what is asked before the switch.
func (o *operation) proposal() api.Proposal {
	p := api.Proposal{Deployment: o.d.id, Service: o.svc.name, Targets: o.next.Targets(), Hosts: o.d.spec.Hosts, Note: o.d.spec.Note, From: o.next.from}
	o.e.mu.Lock()
	serving := o.svc.release()
	o.e.mu.Unlock()
	if serving != nil {
		p.Serving = serving.Version
		p.Changes = api.Changes(serving.Spec.Hosts, serving.Spec.Options, o.d.spec.Hosts, o.d.spec.Options)
	}
	return p
}

func vetoed(url, reason string) *api.Error {
	err := &api.Error{Code: api.CodeVetoed, Message: fmt.Sprintf("%s does not allow the switch: %s", api.Printable(url), api.Printable(reason))}
	return err.WithHint("deploy again when it does; who is asked is set with %s, or when the proxy is started", api.Field("before_switch"))
}
