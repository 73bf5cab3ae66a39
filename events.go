package parachute

import (
	"context"
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/parachute-proxy/parachute/internal/api"
)

// eventPrefix is before the kind of an event in the names that Caddy's events app knows,
// such as "parachute.switched".
const eventPrefix = "parachute."

// emitEvents hands what happens to services to Caddy's events app, whose handlers a config
// may have subscribed, until the returned function is called. Handlers that take their time
// hold up nothing but the events behind theirs.
func (a *App) emitEvents() (stop func(), err error) {
	if a.events == nil {
		return func() {}, nil // an app that no Caddy has provisioned
	}
	reader, err := a.engine.Feed("")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			events, err := reader.Next(ctx)
			if err != nil {
				return
			}
			// While a config takes the place of another one, both read.
			if running.current() == a {
				emitAll(a.ctx, a.events, events)
			}
		}
	}()
	return cancel, nil
}

func emitAll(ctx caddy.Context, app *caddyevents.App, events []api.FeedEvent) {
	for _, ev := range events {
		name := eventPrefix + string(ev.Data.Kind)
		if ev.Data.Followed || !app.ShouldEmit(name) { // the process that decides tells of it
			continue
		}
		var data map[string]any
		b, err := json.Marshal(ev.Data)
		if err == nil {
			err = json.Unmarshal(b, &data)
		}
		if err != nil { // events are made of what JSON has
			continue
		}
		data["id"] = ev.ID
		app.Emit(ctx, name, data)
	}
}
