package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

func newEventsCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events [SERVICE...]",
		Short: "Follow what happens to the services",
		Long: `events prints a line for everything that happens to services: deployments and their
steps, rollouts, removals, pauses, and targets whose health changes. Without a SERVICE,
it follows all, and tells of upgrades of the proxy. If the proxy restarts, it goes on with
the new one. It ends when it is interrupted, or when no proxy has answered for 30 seconds.

The proxy remembers the last 1000 events. --after start begins with these, and --after ID
behind the event with that id, which --output json shows.`,
		ValidArgsFunction: env.CompleteServices,
	}
	after := cmd.Flags().String("after", "", "`id` of the event to begin behind, or start (default: from now on)")
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, services []string) error {
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		ctx, stop := env.interruptible()
		defer stop()
		err = followFeed(ctx, env, c, *after, func(ev api.FeedEvent) error {
			if len(services) > 0 && ev.Data.Kind != api.EventGap && !slices.Contains(services, ev.Data.Service) {
				return nil
			}
			if *output == outputJSON {
				return json.NewEncoder(env.Out).Encode(ev)
			}
			_, err := fmt.Fprintf(env.Out, "%s  %s\n", ev.Data.Time.Local().Format(time.DateTime), describeEvent(ev.Data))
			return err
		})
		if api.ErrorCode(err) == client.CodeInterrupted {
			return nil // as one ends it
		}
		return err
	}
	return cmd
}

// feedPatience is for how long a proxy may be gone that is followed, and feedPause how often is
// looked whether it is there again.
const (
	feedPatience = 30 * time.Second
	feedPause    = 500 * time.Millisecond
)

// followFeed calls yield with everything that happens to services, also behind a restart of the
// proxy. It returns an error if no proxy is there at the beginning, or none is again in time.
func followFeed(ctx context.Context, env *Env, c *client.Client, after string, yield func(api.FeedEvent) error) error {
	var version Versions
	if err := c.Call(ctx, http.MethodGet, api.PathVersion, nil, &version); err != nil {
		return err
	}
	var lost time.Time
	for {
		err := c.Feed(ctx, after, func(ev api.FeedEvent) error {
			lost, after = time.Time{}, ev.ID
			return yield(ev)
		})
		switch code := api.ErrorCode(err); {
		case code != client.CodeUnreachable && code != api.CodeStopping:
			return err
		case lost.IsZero():
			lost = time.Now()
			env.note(" - the connection to the proxy has ended; waiting for it to come back")
		case time.Since(lost) > feedPatience:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(feedPause):
		}
	}
}

// describeEvent says in a line what has happened.
func describeEvent(ev api.Event) string {
	text := ev.Service + " "
	switch ev.Kind {
	case api.EventAccepted:
		return text + "deploys " + strings.Join(ev.Targets, ", ")
	case api.EventHealthy:
		return text + ev.Target + " is healthy"
	case api.EventWarmed:
		return text + "is warmed up"
	case api.EventSmoked:
		return text + "has been asked for its pages"
	case api.EventCertifying:
		return text + "gets the certificate of " + ev.Host
	case api.EventCertified:
		return text + "has the certificate of " + ev.Host
	case api.EventFleet:
		return text + because(ev.Fleet.Proxy+": "+string(ev.Fleet.Phase), ev.Fleet.Reason)
	case api.EventSwitched:
		if ev.Previous > 0 {
			return text + fmt.Sprintf("switched v%d -> v%d", ev.Previous, ev.Release)
		}
		return text + fmt.Sprintf("switched to v%d", ev.Release)
	case api.EventDraining:
		return text + fmt.Sprintf("drains v%d: %s, %s", ev.Release, api.Count(ev.Requests, "request"), api.Count(ev.Streams, "stream"))
	case api.EventDrained:
		text += fmt.Sprintf("drained v%d", ev.Release)
		if cut := api.CutOf(*ev.Drain); cut != nil {
			text += ": " + cut.String()
		}
		return text
	case api.EventEnded:
		if ev.Result.Error != nil {
			return text + fmt.Sprintf("deployment %s: %s", ev.Result.State, WithFlags(ev.Result.Error.Message))
		}
		return OutcomeOf(*ev.Result)
	case api.EventRollout:
		return text + describeRollout(*ev.Rollout)
	case api.EventPromoted:
		return text + because(fmt.Sprintf("v%d is trusted", ev.Release), ev.Reason)
	case api.EventReverted:
		return text + fmt.Sprintf("v%d was taken back: %s", ev.Release, ev.Reason)
	case api.EventUndecided:
		return text + because(fmt.Sprintf("v%d waits for somebody to decide", ev.Release), ev.Reason)
	case api.EventRemoved:
		return text + "is removed"
	case api.EventHeld:
		return text + "is " + string(ev.Hold.Mode)
	case api.EventResumed:
		return text + "serves again"
	case api.EventHealthChanged:
		return text + because(fmt.Sprintf("v%d %s is %s", ev.Release, ev.Target, ev.Health), ev.Reason)
	case api.EventGap:
		return "some events were missed"
	}
	if ev.Process != nil {
		return describeUpgrade(ev)
	}
	return text + string(ev.Kind)
}

// describeUpgrade says in a line what has happened to a process of the proxy.
func describeUpgrade(ev api.Event) string {
	process := ev.Process.String()
	switch ev.Kind {
	case api.EventUpgrading:
		return "a new process is about to take over from " + process
	case api.EventUpgraded:
		return process + " has taken over from " + ev.From.String()
	case api.EventUpgradeFailed:
		return because("no process has taken over; "+process+" goes on", ev.Reason)
	case api.EventTakenBack:
		return "the process that had taken over has died; " + process + " goes on"
	case api.EventProcessEnded:
		return process + " has ended"
	}
	return process + " " + string(ev.Kind)
}

// because returns a text with the reason behind it, if there is one.
func because(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + ": " + reason
}
