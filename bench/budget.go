package main

import (
	"fmt"
	"math"
)

// budget is a bound that parachute has set itself.
type budget struct {
	What     string
	Limit    string
	Scenario string // that shows it
	// measure returns what was measured, whether that is within the limit, and
	// whether anything was measured at all.
	measure func(r *Report, c *Comparison) (value string, met, ok bool)
}

var budgets = []budget{
	ratioTo("nginx", "get/64", "CPU time of a small GET, 64 connections", 1),
	ratioTo("caddy", "get/64", "the same", 0.25),
	ratioTo("kamal-proxy", "get/64", "the same", 0.33),
	ratioTo("nginx", "get/new", "CPU time of a small GET with a new connection", 1.3),
	ratioTo("caddy", "get/new", "the same", 0.55),
	ratioTo("nginx", "tls/h1", "CPU time of a small GET over TLS", 1.15),
	ratioTo("nginx", "tls/new", "CPU time of a small GET with a new connection over TLS", 1.5),
	{
		What: "the same", Limit: "at most that of the best other program in Go", Scenario: "tls/new",
		measure: bestBudget(cpuPerRequest, "caddy", "kamal-proxy"),
	},
	ratioTo("caddy", "tls/h2", "CPU time of a small GET over HTTP/2", 0.40),
	ratioTo("kamal-proxy", "tls/h2", "the same", 0.60),
	ratioTo("nginx", "log/64", "CPU time of a small GET with the access log", 1.5),
	ratioTo("caddy", "handlers/64", "CPU time of a small GET with handlers, with the same directives", 0.75),
	{
		What: "CPU time of a 1 MiB response", Limit: "at most that of the best peer", Scenario: "response/1m",
		measure: bestBudget(cpuPerRequest, "caddy", "kamal-proxy", "nginx", "haproxy"),
	},
	{
		What: "CPU time of a 1 MiB upload", Limit: "at most that of the best peer", Scenario: "upload/1m",
		measure: bestBudget(cpuPerRequest, "caddy", "kamal-proxy", "nginx", "haproxy"),
	},
	{
		What: "99th percentile of the latency at half load", Limit: "at most 1.25 of nginx", Scenario: "latency/half",
		measure: ratioBudget("nginx", p99, 1.25),
	},
	{
		What: "memory of an idle WebSocket", Limit: "at most that of nginx", Scenario: "websocket/idle",
		measure: ratioBudget("nginx", webSocketMemory, 1),
	},
	{
		What: "memory of an idle connection", Limit: "less than 6 KiB", Scenario: "idle/plain",
		measure: valueBudget(idleMemory, 6),
	},
	{
		What: "memory of an idle connection over TLS", Limit: "less than 14 KiB", Scenario: "idle/tls",
		measure: valueBudget(idleMemory, 14),
	},
	{
		What: "memory at rest, one service", Limit: "less than 30 MiB", Scenario: "memory/rest",
		measure: valueBudget(memory, 30),
	},
	{
		What: "memory with 10,000 services", Limit: "less than 100 MiB", Scenario: "services/10000",
		measure: valueBudget(memory, 100),
	},
	{
		What: "CPU time of a request with 10,000 services", Limit: "at most 1.25 of that with one", Scenario: "services/10000",
		measure: scenarioBudget("services/1", cpuPerRequest, 1.25),
	},
	{
		What: "time to list 10,000 services", Limit: "less than 100 ms", Scenario: "services/10000",
		measure: valueBudget(listTime, 100),
	},
	{
		What: "time of a deploy with 10,000 services", Limit: "at most that with 10, give or take a tenth", Scenario: "services/10000",
		measure: growthBudget(deployTime, deployTimeFew),
	},
}

// ratioTo is a budget of CPU time in proportion to a peer's.
func ratioTo(peer, scenario, what string, limit float64) budget {
	return budget{
		What: what, Limit: fmt.Sprintf("at most %.2f of %s", limit, peer), Scenario: scenario,
		measure: ratioBudget(peer, cpuPerRequest, limit),
	}
}

// scenarioBudget bounds what parachute needs in proportion to what it needs in another scenario.
func scenarioBudget(other string, m Metric, limit float64) func(*Report, *Comparison) (string, bool, bool) {
	return func(r *Report, c *Comparison) (string, bool, bool) {
		base := r.find(other)
		if base == nil {
			return "", false, false
		}
		value, ok := c.Median(parachute, m)
		than, known := base.Median(parachute, m)
		return fmt.Sprintf("%.2f of it", value/than), value <= limit*than, ok && known
	}
}

// ratioBudget bounds what parachute needs in proportion to a peer.
func ratioBudget(peer string, m Metric, limit float64) func(*Report, *Comparison) (string, bool, bool) {
	return func(_ *Report, c *Comparison) (string, bool, bool) {
		ratio, ok := c.Ratio(peer, m)
		return fmt.Sprintf("%.2f", ratio), ratio <= limit, ok
	}
}

// bestBudget bounds what parachute needs by what the best of some peers needs.
func bestBudget(m Metric, peers ...string) func(*Report, *Comparison) (string, bool, bool) {
	return func(_ *Report, c *Comparison) (string, bool, bool) {
		worst, best := math.Inf(-1), ""
		for _, p := range peers {
			if ratio, ok := c.Ratio(p, m); ok && ratio > worst {
				worst, best = ratio, p
			}
		}
		return fmt.Sprintf("%.2f of %s", worst, best), worst <= 1, best != ""
	}
}

// valueBudget bounds a figure of parachute's own.
func valueBudget(m Metric, limit float64) func(*Report, *Comparison) (string, bool, bool) {
	return func(_ *Report, c *Comparison) (string, bool, bool) {
		value, ok := c.Median(parachute, m)
		return fmt.Sprintf("%.*f %s", m.Table.Digits, value, m.Table.Unit), value < limit, ok
	}
}

// noise is what two medians of the same thing may differ by.
const noise = 1.1

// growthBudget bounds one of parachute's figures by another of the same samples: by
// the median of the ratios, as for peers.
func growthBudget(m, base Metric) func(*Report, *Comparison) (string, bool, bool) {
	return func(_ *Report, c *Comparison) (string, bool, bool) {
		ours := c.Samples[parachute]
		ratio, ok := medianRatio(ours, m, ours, base)
		return fmt.Sprintf("%.2f of it", ratio), ratio <= noise, ok
	}
}

// verdict is a budget and what has become of it.
type verdict struct {
	What, Limit, Measured, Met, Scenario string
}

// verdicts says which budgets are met.
func (r *Report) verdicts() []verdict {
	var verdicts []verdict
	for _, b := range budgets {
		v := verdict{What: b.What, Limit: b.Limit, Measured: "not measured", Met: "–", Scenario: b.Scenario}
		if c := r.find(b.Scenario); c != nil {
			if value, met, ok := b.measure(r, c); ok {
				v.Measured, v.Met = value, "no"
				if met {
					v.Met = "yes"
				}
			}
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}
