package proxy

import (
	"cmp"
	"context"
	"fmt"

	"github.com/parachute-proxy/parachute/internal/api"
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
	ctx, cancel := context.WithTimeout(o.d.ctx, askTimeout)
	defer cancel()
	answer, err := o.e.askURL(ctx, url, o.proposal())
	switch cause := context.Cause(o.d.ctx); {
	case err != nil && cause != nil:
		return cause
	case err != nil:
		return vetoed(url, "it cannot be asked: "+err.Error())
	case answer.status < 200 || answer.status > 299:
		return vetoed(url, answer.why())
	case answer.Allow != nil && !*answer.Allow:
		return vetoed(url, cmp.Or(answer.Reason, "it says no"))
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
