package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

func newHistoryCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history SERVICE",
		Short: "List the releases of a service that serve or have served",
		Long: `history lists the last 20 releases of a service, the newest first: when each was
deployed, how long it served, its targets, its --label, --commit and --by, and why it
left if it was taken back. parachute rollback goes back to one of them.`,
		Args:              oneService("history"),
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		h, err := fetchHistory(cmd.Context(), c, args[0])
		switch {
		case err != nil:
			return err
		case *output == outputJSON:
			return printJSON(env.Out, h)
		}
		columns, _ := env.Out.size()
		return historyTable(h, time.Now()).print(env.Out, columns)
	}
	return cmd
}

// oneService requires the name of one service as the argument of a command.
func oneService(command string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s needs the name of one service, as in: parachute %s app1.example.com", command, command)
		}
		return nil
	}
}

func fetchHistory(ctx context.Context, c *client.Client, written string) (h api.History, err error) {
	err = onService(written, func(name string) error {
		return c.Call(ctx, http.MethodGet, api.ReleasesPath(name), nil, &h)
	})
	return h, err
}

func historyTable(h api.History, now time.Time) *table {
	t := &table{columns: []column{
		{title: "RELEASE"},
		{title: "DEPLOYED"},
		{title: "SERVED FOR"},
		{title: "REQUESTS", dropped: 3},
		{title: "TARGETS", least: 14},
		{title: "BY", least: 8, dropped: 2},
		{title: "LABEL", least: 8, dropped: 1},
	}}
	left := slices.ContainsFunc(h.Releases, func(p api.PastRelease) bool { return p.Reason != "" })
	if left {
		t.columns = append(t.columns, column{title: "WHY IT LEFT", least: 12, dropped: 4})
	}
	for _, p := range h.Releases {
		release := fmt.Sprintf("v%d", p.Release)
		if p.From > 0 {
			release += fmt.Sprintf(" (v%d again)", p.From)
		}
		servedFor, by := ageOf(p.DeployedAt, now)+", serves", p.Note.By
		if p.ReplacedAt != nil {
			servedFor = ageOf(p.DeployedAt, *p.ReplacedAt)
		}
		if p.Outcome != "" {
			servedFor += ", " + string(p.Outcome)
		}
		requests := fmt.Sprint(p.Served)
		if p.Failures > 0 {
			requests += fmt.Sprintf(", %d failed", p.Failures)
		}
		label := strings.TrimSpace(p.Note.Label + " " + p.Note.Commit)
		row := []string{release, p.DeployedAt.Local().Format(time.DateTime), servedFor, requests, strings.Join(slices.Concat(p.Targets, p.ReadTargets), ","), by, label}
		if left {
			row = append(row, p.Reason)
		}
		t.add(row...)
	}
	return t
}
