package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// statusTimeout bounds list and status, which the proxy answers at once.
const statusTimeout = 10 * time.Second

func newListCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the services with their health and traffic",
		Args:    cobra.NoArgs,
	}
	output := AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only: the exit code says whether the proxy answers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		services, err := fetchServices(env, cmd)
		switch {
		case err != nil:
			return err
		case *quiet:
			return nil
		case *output == outputJSON:
			return printJSON(env.Out, api.ServiceList{Services: services})
		case len(services) == 0:
			env.nothingDeployed()
			return nil
		}
		return printList(env.Out, services)
	}
	return cmd
}

// nothingDeployed says what to begin with.
func (e *Env) nothingDeployed() {
	fmt.Fprintln(e.Err, e.named("nothing is deployed yet; begin with: parachute deploy web-1:3000"))
}

// fetchServices returns the services of the given names, or all.
func fetchServices(env *Env, cmd *cobra.Command, names ...string) ([]api.ServiceStatus, error) {
	client, err := env.Client(cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	if len(names) > 0 {
		var one api.ServiceStatus
		if err := client.Call(ctx, http.MethodGet, api.ServicePath(names[0]), nil, &one); err != nil {
			return nil, err
		}
		return []api.ServiceStatus{one}, nil
	}
	return client.Services(ctx)
}

// printList prints a table with a row for each release that has traffic.
func printList(w io.Writer, services []api.ServiceStatus) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tROUTES\tRELEASE\tTARGETS\tHEALTH\tREQUESTS\tSTREAMS\tTLS")
	for _, s := range services {
		if s.Broken != "" && s.Active == nil {
			fmt.Fprintf(t, "%s\t-\t-\t-\tbroken: %s\t-\t-\t-\n", s.Name, s.Broken)
		}
		if s.Active != nil {
			printRow(t, s.Name, routesOf(s), fmt.Sprintf("v%d", s.Active.Release), *s.Active, healthOf(*s.Active), tlsOf(s))
		}
		for _, r := range s.Draining {
			printRow(t, s.Name, "", fmt.Sprintf("v%d", r.Release), r, "draining", "")
		}
		for _, d := range s.Deployments {
			if d.Release == 0 {
				fmt.Fprintf(t, "%s\t\tdeploying\t%s\t%s\t\t\t\n", s.Name, strings.Join(d.Targets, ","), d.State)
			}
		}
	}
	return t.Flush()
}

func printRow(w io.Writer, name, routes, release string, r api.ReleaseStatus, health, tls string) {
	var targets []string
	for _, t := range r.Targets {
		targets = append(targets, t.Address)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", name, routes, release, strings.Join(targets, ","), health, r.Requests, r.Streams, tls)
}

// routesOf writes the routes of a service in short.
func routesOf(s api.ServiceStatus) string { return someOf(allRoutesOf(s), ",") }

// healthOf sums up the health of a release's targets.
func healthOf(r api.ReleaseStatus) string {
	n := make(map[api.Health]int)
	for _, t := range r.Targets {
		n[t.Health]++
	}
	for health, of := range n {
		if of == len(r.Targets) {
			return string(health)
		}
	}
	var all []string
	for _, health := range []api.Health{api.HealthHealthy, api.HealthUnverified, api.HealthFailing} {
		if n[health] > 0 {
			all = append(all, fmt.Sprintf("%d %s", n[health], health))
		}
	}
	return strings.Join(all, ", ")
}

// tlsOf sums up the certificates of a service: the first that is in trouble, or else
// the first that expires. The reasons of authorities are sentences, and for status.
func tlsOf(s api.ServiceStatus) string {
	if !s.TLS {
		return "off"
	}
	var first *api.Certificate
	for _, c := range s.Certificates {
		if problem := c.Problem(time.Now()); problem != "" {
			return c.Host + ": " + problem
		}
		if first == nil || c.NotAfter.Before(*first.NotAfter) {
			first = &c
		}
	}
	if first == nil {
		return withoutCertificates(s)
	}
	return fmt.Sprintf("until %s, %s", first.NotAfter.Format(time.DateOnly), first.Issuer)
}

// withoutCertificates says what a service with TLS has if there is no host whose
// certificate could be named.
func withoutCertificates(s api.ServiceStatus) string {
	if s.Active != nil && s.Active.Options.TLS.OnDemandURL != "" {
		return "on demand"
	}
	return "own certificate"
}
