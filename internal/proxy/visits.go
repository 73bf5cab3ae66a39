package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// warm asks the targets for pages before visitors do, so that these do not wait for caches
// and compilers. What they answer is told, and ends nothing.
func (o *operation) warm() error {
	options := &o.d.spec.Options
	if o.d.spec.Force || len(options.Warm) == 0 {
		return nil
	}
	visits, err := o.visit(options.Warm, options.WarmRequests, true)
	if err != nil {
		return err
	}
	o.d.send(api.Event{Kind: api.EventWarmed, Visits: visits})
	return nil
}

// smoke asks the targets for pages that have to be there: a release whose health check is
// well and whose pages are not gets no visitors.
func (o *operation) smoke() error {
	options := &o.d.spec.Options
	if o.d.spec.Force || len(options.Smoke) == 0 {
		return nil
	}
	visits, err := o.visit(options.Smoke, 1, false)
	if err != nil {
		return err
	}
	o.d.send(api.Event{Kind: api.EventSmoked, Visits: visits})
	for _, v := range visits {
		if !v.OK() {
			failed := &api.Error{Code: api.CodeNotHealthy, Message: fmt.Sprintf("%s fails its smoke test: %s", v.Target, v)}
			return failed.WithHint("see the log of the app, or take the path out of %s", api.Field("smoke"))
		}
	}
	return nil
}

// visit asks the targets for pages, for as long as they have to become healthy.
func (o *operation) visit(paths []string, times int, warmUp bool) ([]api.Visit, error) {
	ctx, cancel := context.WithTimeoutCause(o.d.ctx, time.Duration(o.d.spec.Options.DeployTimeout), errDeployTimeout)
	defer cancel()
	visits := o.next.Visit(ctx, paths, times, warmUp)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errDeployTimeout) {
		return nil, cause
	}
	return visits, nil
}
