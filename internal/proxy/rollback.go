package proxy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// rollbackTimeout bounds the gate of a rollback. What has served before and still runs
// answers at once, and what does not run is not coming.
const rollbackTimeout = api.Duration(2 * time.Second)

// Rollback accepts a deployment of a release that has served before: its targets and all of
// its settings. It has the errors of [Engine.Deploy], and one with [api.CodeNotFound] if the
// release is not remembered.
func (e *Engine) Rollback(ctx context.Context, name string, req api.RollbackRequest) (*Deployment, error) {
	active, err := e.serving(name)
	if err != nil {
		return nil, err
	}
	past, err := e.pastRelease(ctx, name, active.Version, req.To)
	if err != nil {
		return nil, err
	}
	r, err := storedRequest(name, past.Targets, past.Hosts, past.Options)
	if err != nil {
		return nil, &api.Error{Code: api.CodeInternal, Message: fmt.Sprintf("v%d of %s cannot be read: %s", past.Release, name, api.Printable(err.Error())), Cause: err}
	}
	r.Reset, r.FailOnCut, r.Detach = true, req.FailOnCut, req.Detach
	r.Note = &api.Note{Label: cmp.Or(req.Note.Label, past.Note.Label), Commit: cmp.Or(req.Note.Commit, past.Note.Commit), By: req.Note.By}
	return e.deploy(r.Patch(), past.Release)
}

// pastRelease returns the release with a number, or for 0 the one that served before the
// active one.
func (e *Engine) pastRelease(ctx context.Context, name string, active, number int) (*pastRelease, error) {
	h := e.loadHistory(ctx, name)
	var known []string
	for i := range h.Releases {
		switch p := &h.Releases[i]; {
		case p.Release == active:
		case number == 0 && p.Release < active, p.Release == number:
			return p, nil
		default:
			known = append(known, fmt.Sprintf("v%d", p.Release))
		}
	}
	switch {
	case number == active:
		return nil, api.Invalid("%s v%d serves already", name, active)
	case number == 0:
		return nil, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("there is no release before %s v%d to go back to", name, active)}
	}
	err := &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("v%d of %s is not remembered", number, name)}
	if len(known) > 0 {
		slices.Reverse(known)
		err.Hint = "remembered are " + strings.Join(known, ", ")
	}
	return nil, err
}

// goneHint explains a rollback whose targets are not healthy.
func goneHint(release int) api.Advice {
	return api.Advise("the instances of v%d no longer run, or are not healthy; start them again and deploy them", release)
}
