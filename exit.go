package parachute

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// exitBound gives the HTTP app a grace period when the process exits. In the
// config of the HTTP app it would apply to reloads as well, where it ends streams
// over HTTP/3.
type exitBound struct {
	ctx   caddy.Context
	grace caddy.Duration
}

// bindExit has the bound applied before any app stops.
func bindExit(ctx caddy.Context, grace caddy.Duration) error {
	events, err := ctx.App("events")
	if err != nil {
		return err
	}
	return events.(*caddyevents.App).On("stopping", exitBound{ctx, grace})
}

// Handle implements caddyevents.Handler. It runs in the goroutine that is about
// to stop the apps.
func (b exitBound) Handle(context.Context, caddy.Event) error {
	if !caddy.Exiting() {
		return nil
	}
	app, err := b.ctx.AppIfConfigured("http")
	if err != nil {
		return nil // without servers, nothing has to be waited for
	}
	if http := app.(*caddyhttp.App); http.GracePeriod == 0 {
		http.GracePeriod = b.grace
	}
	return nil
}
