package kamal

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

func (p *program) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the services currently running",
		Args:    cobra.NoArgs,
		Aliases: []string{"ls"},
		RunE: func(*cobra.Command, []string) error {
			c, err := p.client()
			if err != nil {
				return err
			}
			services, err := c.Services(context.Background())
			if err != nil {
				return err
			}
			return printTable(p.Out, rowsOf(services), p.Out.Terminal)
		},
	}
}

// rowsOf returns the table of services, with its head.
func rowsOf(services []api.ServiceStatus) [][]string {
	rows := [][]string{{"Service", "Host", "Path", "Target", "State", "TLS", "Rollout"}}
	services = slices.Clone(services)
	slices.SortFunc(services, func(a, b api.ServiceStatus) int { return cmp.Compare(a.Name, b.Name) })
	for _, s := range services {
		state, tls := "running", "no"
		switch {
		case s.Broken != "":
			state = "broken"
		case s.Hold != nil:
			state = string(s.Hold.Mode)
		case s.Active == nil:
			continue // its first deploy is under way
		}
		if s.TLS || len(s.TLSFrom) > 0 {
			tls = "yes"
		}
		rows = append(rows, []string{
			s.Name, cmp.Or(strings.Join(s.Hosts, ","), "*"), strings.Join(s.PathPrefixes, ","), targetsOf(s.Active), state, tls, rolloutOf(s),
		})
	}
	return rows
}

func targetsOf(r *api.ReleaseStatus) string {
	if r == nil {
		return ""
	}
	var all []string
	for _, t := range r.Targets {
		all = append(all, t.Address)
	}
	return strings.Join(all, ",")
}

// rolloutOf says what the rollout of a service is.
func rolloutOf(s api.ServiceStatus) string {
	if s.Candidate == nil || s.Rollout == nil {
		return ""
	}
	split := "no split"
	if s.Rollout.Weight > 0 || len(s.Rollout.Values) > 0 {
		split = s.Rollout.Weight.String()
		if n := len(s.Rollout.Values); n > 0 {
			split += fmt.Sprintf(" and %d listed", n)
		}
		if s.Rollout.Off {
			split += ", disabled"
		}
	}
	return split + ": " + targetsOf(s.Candidate)
}

// Styles of a terminal that kamal-proxy prints its table in (ECMA-48, section 8.3.117).
const (
	headStyle = "3;94"
	nameStyle = "1;34"
)

// printTable prints rows in columns. Unlike kamal-proxy's, it has colours on a terminal only.
func printTable(w io.Writer, rows [][]string, colored bool) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			style := ""
			switch {
			case n == 0:
				style = headStyle
			case i == 0:
				style = nameStyle
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			if colored && style != "" {
				cell = "\x1b[" + style + "m" + cell + "\x1b[0m"
			}
			line.WriteString(cell + pad)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
