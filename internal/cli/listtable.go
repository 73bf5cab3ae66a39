package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// listing is what list shows of the services at a moment.
type listing struct {
	services []api.ServiceStatus
	now      time.Time
	// before is what was listed last, to tell requests per second from; nil without a
	// --watch.
	before *listing
	// wide has every route shown.
	wide bool
}

// table returns a table with a row for each release that has traffic.
func (l *listing) table() *table {
	t := &table{columns: []column{
		{title: "SERVICE", least: 16},
		{title: "ROUTES", least: 12, dropped: 2},
		{title: "RELEASE"},
		{title: "AGE"},
		{title: "TARGETS", least: 14, dropped: 1},
		{title: "HEALTH", least: 9},
		{title: "REQUESTS"},
		{title: "STREAMS"},
	}}
	if l.before != nil {
		t.columns = append(t.columns, column{title: "RATE"})
	}
	t.columns = append(t.columns, column{title: "TLS", least: 16, dropped: 3})
	for _, s := range l.services {
		if s.Broken != "" && s.Active == nil {
			l.add(t, s.Name, "-", "-", "-", "-", "broken: "+s.Broken, "-", "-", "-", "-")
		}
		if s.Active != nil {
			health := healthOf(*s.Active)
			switch {
			case s.Broken != "":
				health = "broken: " + s.Broken
			case s.Hold != nil:
				health = s.Hold.String()
			case s.Rollout != nil && s.Rollout.Phase == api.PhaseWatch:
				health += ", watched" + clockOf(*s.Rollout)
			}
			if p := s.Proxies; p != nil && p.Serving < p.Of {
				health += ", on " + p.String()
			}
			l.addRelease(t, s.Name, l.routesOf(s), *s.Active, health, tlsOf(s, l.now))
		}
		if s.Candidate != nil {
			l.addRelease(t, s.Name, "", *s.Candidate, fmt.Sprintf("%s, canary %s%s", healthOf(*s.Candidate), s.Rollout.Weight, clockOf(*s.Rollout)), "")
		}
		if s.Standby != nil {
			l.addRelease(t, s.Name, "", *s.Standby, healthOf(*s.Standby)+", standby", "")
		}
		for _, r := range s.Draining {
			l.addRelease(t, s.Name, "", r, "draining", "")
		}
		for _, d := range s.Deployments {
			if d.Release == 0 {
				l.add(t, s.Name, "", "deploying", ageOf(d.Started, l.now), strings.Join(d.Targets, ","), string(d.State), "", "", "", "")
			}
		}
	}
	return t
}

// add adds a row, of whose cells the last but one is left out without a --watch.
func (l *listing) add(t *table, cells ...string) {
	if l.before == nil {
		cells = append(cells[:len(cells)-2], cells[len(cells)-1])
	}
	t.add(cells...)
}

func (l *listing) addRelease(t *table, name, routes string, r api.ReleaseStatus, health, tls string) {
	var targets []string
	for _, t := range r.Targets {
		targets = append(targets, t.Address)
	}
	l.add(t, name, routes, fmt.Sprintf("v%d", r.Release), ageOf(r.DeployedAt, l.now), strings.Join(targets, ","), health,
		fmt.Sprint(r.Requests), fmt.Sprint(r.Streams), l.rateOf(name, r), tls)
}

// clockOf says what is left of the time of a rollout, or that it waits.
func clockOf(r api.RolloutStatus) string {
	switch {
	case r.Waiting != "":
		return ", waits"
	case r.RemainingSeconds != nil:
		return ", " + leftOf(*r.RemainingSeconds) + " left"
	}
	return ""
}

// routesOf writes the routes of a service, in short if they are many.
func (l *listing) routesOf(s api.ServiceStatus) string {
	if l.wide {
		return strings.Join(allRoutesOf(s), ",")
	}
	return someOf(allRoutesOf(s), ",")
}

// rateOf returns how many requests a second a release has been sent since the listing
// before.
func (l *listing) rateOf(service string, r api.ReleaseStatus) string {
	if l.before == nil {
		return ""
	}
	for _, s := range l.before.services {
		if s.Name != service {
			continue
		}
		for _, old := range s.Releases() {
			elapsed := l.now.Sub(l.before.now).Seconds()
			if old.Release == r.Release && old.Served <= r.Served && elapsed > 0 {
				return fmt.Sprintf("%.0f/s", float64(r.Served-old.Served)/elapsed)
			}
		}
	}
	return ""
}

// ageOf writes how long ago something was, in its largest unit.
func ageOf(at, now time.Time) string {
	age := now.Sub(at)
	switch {
	case age < time.Second:
		return "0s"
	case age < time.Minute:
		return fmt.Sprintf("%ds", age/time.Second)
	case age < time.Hour:
		return fmt.Sprintf("%dm", age/time.Minute)
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh", age/time.Hour)
	}
	return fmt.Sprintf("%dd", age/(24*time.Hour))
}

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
func tlsOf(s api.ServiceStatus, now time.Time) string {
	if !s.TLS {
		return cmp.Or(tlsServices(s), "off")
	}
	var first *api.Certificate
	for _, c := range s.Certificates {
		if problem := c.Problem(now); problem != "" {
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

// tlsServices names the services that s takes HTTPS from, if there are any.
func tlsServices(s api.ServiceStatus) string {
	var names []string
	for _, from := range s.TLSFrom {
		if !slices.Contains(names, from.Service) {
			names = append(names, from.Service)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "as " + strings.Join(names, ", ")
}

// withoutCertificates says what a service with TLS has if there is no host whose
// certificate could be named.
func withoutCertificates(s api.ServiceStatus) string {
	if s.Active != nil && s.Active.Options.TLS.OnDemandURL != "" {
		return "on demand"
	}
	return "own certificate"
}
