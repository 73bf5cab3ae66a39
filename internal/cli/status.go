package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

func newStatusCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "status [SERVICE]",
		Short:             "Show services in full: targets, health, traffic, drains, options",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		services, err := fetchServices(context.Background(), env, cmd, args...)
		switch {
		case err != nil:
			return err
		case *output == outputJSON && len(args) == 1:
			return printJSON(env.Out, services[0])
		case *output == outputJSON:
			return printJSON(env.Out, api.ServiceList{Services: services})
		case len(services) == 0:
			env.nothingDeployed()
			return nil
		}
		for i, s := range services {
			if i > 0 {
				fmt.Fprintln(env.Out)
			}
			if err := printStatus(env.Out, s, env.Out.style); err != nil {
				return err
			}
		}
		return noteProcesses(cmd, env)
	}
	return cmd
}

func allRoutesOf(s api.ServiceStatus) []string {
	hosts, prefixes := s.Hosts, s.PathPrefixes
	if len(hosts) == 0 {
		hosts = []string{"*"}
	}
	var all []string
	for _, h := range hosts {
		for _, p := range prefixes {
			all = append(all, h+strings.TrimSuffix(p, "/"))
		}
	}
	return all
}

// printCertificates prints a line for each certificate.
func printCertificates(w io.Writer, s api.ServiceStatus, style style) {
	for _, from := range s.TLSFrom {
		fmt.Fprintf(w, "  tls\t%s\n", tlsSourceText(from))
	}
	switch {
	case !s.TLS && len(s.TLSFrom) > 0:
	case !s.TLS:
		fmt.Fprintf(w, "  tls\toff\n")
	case len(s.Certificates) == 0:
		fmt.Fprintf(w, "  tls\t%s\n", withoutCertificates(s))
	}
	for _, c := range s.Certificates {
		line := c.Host
		if c.NotAfter != nil {
			line += fmt.Sprintf("\tvalid until %s, from %s", c.NotAfter.Format(time.DateTime), c.Issuer)
		}
		if warning := c.Warning(time.Now()); warning != "" {
			line += "\t" + style.red(warning)
		}
		fmt.Fprintf(w, "  certificate\t%s\n", line)
	}
}

// tlsSourceText says from whom a service takes HTTPS for a host, and what that does to HTTP.
func tlsSourceText(from api.TLSSource) string {
	host, http := from.Host, "HTTP is served as well"
	if host == "" {
		host = "every other host"
	}
	if from.Redirect {
		http = "HTTP is redirected to HTTPS"
	}
	return fmt.Sprintf("%s: as service %s, which has the root of the host; %s", host, from.Service, http)
}

// plainHTTPOf says what becomes of HTTP where there is HTTPS: nobody is sent to a host
// that has no certificate.
func plainHTTPOf(s api.ServiceStatus) string {
	if !s.Active.Options.TLS.Redirect {
		return "served as well"
	}
	text := "redirected to https"
	if missing := withoutCertificate(s.Certificates); len(missing) > 0 && s.Active.Options.TLS.OnDemandURL == "" {
		text += ", except for " + strings.Join(missing, ", ") + ": served until there is a certificate"
	}
	return text
}

// withoutCertificate returns the hosts whose certificate is not there yet.
func withoutCertificate(certificates []api.Certificate) (hosts []string) {
	for _, c := range certificates {
		if c.NotAfter == nil {
			hosts = append(hosts, c.Host)
		}
	}
	return hosts
}

// printStatus prints everything about a service.
func printStatus(w io.Writer, s api.ServiceStatus, style style) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, style.bold(s.Name))
	if s.Broken != "" {
		fmt.Fprintf(t, "  broken\t%s\n", s.Broken)
	}
	if s.Hold != nil {
		fmt.Fprintf(t, "  held\t%s since %s%s\n", s.Hold, s.Hold.Since.Local().Format(time.DateTime), holdLimits(*s.Hold))
	}
	if p := s.Proxies; p != nil {
		text := fmt.Sprintf("%s serve it so", p)
		if len(p.Lacking) > 0 {
			text = fmt.Sprintf("%s serve it so, not %s", p, strings.Join(p.Lacking, ", "))
		}
		fmt.Fprintf(t, "  fleet\t%s\n", text)
	}
	if s.Active == nil {
		fmt.Fprintf(t, "  release\tnone serves\n")
	} else {
		o := s.Active.Options
		fmt.Fprintf(t, "  routes\t%s\n", strings.Join(allRoutesOf(s), "\n\t"))
		fmt.Fprintf(t, "  release\tv%d, deployed %s, %s ago\n", s.Active.Release,
			s.Active.DeployedAt.Local().Format(time.DateTime), ageOf(s.Active.DeployedAt, time.Now()))
		for _, line := range notesOf(*s.Active) {
			fmt.Fprintf(t, "  \t%s\n", line)
		}
		fmt.Fprintf(t, "  traffic\t%s, %s in flight; %d served\n", api.Count(s.Active.Requests, "request"), api.Count(s.Active.Streams, "stream"), s.Served)
		printTargets(t, s.Active.Targets)
		printCertificates(t, s, style)
		fmt.Fprintf(t, "  health check\tGET %s, timeout %s\n", o.HealthCheckPath, o.HealthCheckTimeout)
		fmt.Fprintf(t, "  timeouts\ttarget %s, hold %s\n", o.TargetTimeout, o.HoldTimeout)
		if o.TLS != nil && len(s.TLSFrom) < max(1, len(s.Hosts)) {
			fmt.Fprintf(t, "  http\t%s\n", plainHTTPOf(s))
		}
		for i, v := range o.NotDefault() {
			label := ""
			if i == 0 {
				label = "settings"
			}
			fmt.Fprintf(t, "  %s\t%s %s\n", label, v.Name, v.Text)
		}
	}
	if s.Rollout != nil {
		printRollout(t, *s.Rollout)
	}
	if r := s.Candidate; r != nil {
		fmt.Fprintf(t, "  canary\tv%d: %s, %s in flight\n", r.Release, api.Count(r.Requests, "request"), api.Count(r.Streams, "stream"))
		printTargets(t, r.Targets)
	}
	if r := s.Standby; r != nil {
		fmt.Fprintf(t, "  standby\tv%d, ready to serve again: its instances must not be removed\n", r.Release)
		printTargets(t, r.Targets)
	}
	for _, r := range s.Draining {
		fmt.Fprintf(t, "  draining\tv%d: %s, %s left\n", r.Release, api.Count(r.Requests, "request"), api.Count(r.Streams, "stream"))
	}
	for _, d := range s.Deployments {
		fmt.Fprintf(t, "  deployment\t%s: %s, %s\n", d.ID, d.State, strings.Join(d.Targets, ", "))
	}
	if d := s.FailedDeployment; d != nil {
		fmt.Fprintf(t, "  last deployment\t%s %s\n", d.ID, style.red(failureOf(*d, time.Now())))
	}
	return t.Flush()
}

// holdLimits says what a hold does to requests.
func holdLimits(h api.HoldStatus) (text string) {
	if h.Mode == api.Paused {
		text = fmt.Sprintf(", each for at most %s, at most %d", h.MaxWait, h.Queue)
	} else {
		text = fmt.Sprintf(", with status %d", h.Status)
	}
	if h.Message != "" {
		text += fmt.Sprintf(" and %q", h.Message)
	}
	if len(h.Allow) > 0 {
		text += "; served all the same: " + strings.Trim(fmt.Sprint(h.Allow), "[]")
	}
	return text
}

// notesOf returns what else is to be known of a release, a line for each.
func notesOf(r api.ReleaseStatus) (lines []string) {
	if r.From > 0 {
		lines = append(lines, fmt.Sprintf("v%d again, by a rollback", r.From))
	}
	for _, note := range [][2]string{{"label", r.Note.Label}, {"commit", r.Note.Commit}, {"by", r.Note.By}} {
		if note[1] != "" {
			lines = append(lines, note[0]+" "+note[1])
		}
	}
	return lines
}

// failureOf says when and why a deployment failed.
func failureOf(d api.DeploymentStatus, now time.Time) string {
	text := fmt.Sprintf("failed %s ago: %s", now.Sub(*d.Ended).Truncate(time.Second), WithFlags(d.Error.Message))
	for _, r := range d.Error.Details {
		switch {
		case r.Healthy:
		case len(d.Error.Details) == 1:
			text += ": " + FailuresOf(r)
		default:
			text += "; " + r.Target + ": " + FailuresOf(r)
		}
	}
	return text
}

func printTargets(w io.Writer, targets []api.TargetStatus) {
	for _, target := range targets {
		health := string(target.Health)
		if target.Reason != "" {
			health += ": " + target.Reason
		}
		if target.Since != nil {
			health += " since " + target.Since.Local().Format(time.DateTime)
		}
		kind := "target"
		if target.ReadsOnly {
			kind = "read target"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", kind, target.Address, health)
	}
}
