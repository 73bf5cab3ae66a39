package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// watchInterval is how often --watch lists anew.
const watchInterval = time.Second

// Escape sequences of terminals (ECMA-48): to the first line, and erase from here to the
// end of the line or of the screen.
const (
	cursorHome    = "\x1b[H"
	eraseToEOL    = "\x1b[K"
	eraseToBottom = "\x1b[J"
)

// watchServices prints the services now and at every tick, until ctx ends. On a terminal,
// each listing takes the place of the one before, and a proxy that does not answer, as
// while it is restarted, is waited for.
func (o *listOptions) watchServices(ctx context.Context, env *Env, ticks <-chan time.Time, fetch func(context.Context) ([]api.ServiceStatus, error)) error {
	last := &listing{}
	for {
		services, err := fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !env.Out.Terminal {
			return err
		}
		now := &listing{services: services, now: time.Now(), wide: o.wide, before: last}
		switch {
		case *o.output == outputJSON:
			err = json.NewEncoder(env.Out).Encode(api.ServiceList{Services: services})
		case env.Out.Terminal:
			err = o.redraw(env, now, err)
		default:
			err = now.table().print(env.Out, 0)
		}
		if err != nil {
			return err
		}
		now.before, last = nil, now
		select {
		case <-ticks:
		case <-ctx.Done():
			return nil
		}
	}
}

// redraw replaces what is on the screen by a listing, or by the reason why there is none.
func (o *listOptions) redraw(env *Env, l *listing, failed error) error {
	var text strings.Builder
	if failed != nil {
		text.WriteString(env.Out.red("error: "+failed.Error()) + "\n")
	} else if err := l.table().print(&text, o.columns(env)); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	// The last line of the screen is the cursor's.
	if _, most := env.Out.size(); most > 2 && len(lines) > most-1 {
		lines = append(lines[:most-2], fmt.Sprintf("and %d more", len(lines)-(most-2)))
	}
	_, err := fmt.Fprint(env.Out, cursorHome+strings.Join(lines, eraseToEOL+"\n")+eraseToEOL+"\n"+eraseToBottom)
	return err
}
