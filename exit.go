package parachute

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// life is told by Caddy when a config has started, and when it is about to stop.
type life struct{ app *App }

// bindLife has Caddy tell the app when its config has started, and when it is about to stop.
func bindLife(app *App, events *caddyevents.App) error {
	for _, name := range []string{"started", "stopping"} {
		if err := events.On(name, life{app}); err != nil {
			return err
		}
	}
	return nil
}

// Handle implements [caddyevents.Handler]. It runs in the goroutine that has started all
// apps, or is about to stop them.
func (l life) Handle(_ context.Context, event caddy.Event) error {
	switch {
	case event.Name() == "started":
		l.app.fronts.Start()
	case caddy.Exiting():
		l.app.boundExit()
		thisProcess.exit()
	}
	return nil
}

// boundExit gives the HTTP app a grace period and its shutdown delay when the process exits:
// it reads both when it stops. In its config they would apply to reloads as well. There, a
// grace period ends streams over HTTP/3. And a shutdown delay would come with each reload: Caddy
// goes without one if other configs use the same sockets, but it does not know of ours.
func (a *App) boundExit() {
	app := a.httpApp()
	if app == nil {
		return // without servers, nothing has to be waited for
	}
	if a.BoundExit && app.GracePeriod == 0 {
		app.GracePeriod = a.GracePeriod
	}
	if a.shutdownDelay != 0 {
		app.ShutdownDelay = a.shutdownDelay
	}
}

// takeShutdownDelay keeps the delay for boundExit.
func (a *App) takeShutdownDelay() {
	if app := a.httpApp(); app != nil && app.ShutdownDelay != 0 {
		a.shutdownDelay, app.ShutdownDelay = app.ShutdownDelay, 0
	}
}
