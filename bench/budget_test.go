package main

import "testing"

// A scenario that is renamed would make its budget "not measured" for ever.
func TestBudgetsNameScenarios(t *testing.T) {
	names := make(map[string]bool)
	for _, s := range scenarios {
		if names[s.Name] {
			t.Errorf("there are two scenarios %s", s.Name)
		}
		names[s.Name] = true
	}
	for _, b := range budgets {
		if !names[b.Scenario] {
			t.Errorf("%s: there is no scenario %s", b.What, b.Scenario)
		}
	}
}

// comparison returns what one round of a metric has found.
func comparison(scenario string, m Metric, values map[string]float64) *Comparison {
	c := newComparison(&Scenario{Name: scenario, Metrics: []Metric{m}})
	for peer, v := range values {
		c.add(peer, Sample{Values: map[string]float64{m.Key: v}})
	}
	return c
}

func TestBudgets(t *testing.T) {
	r := &Report{Peers: []PeerInfo{{Name: parachute}, {Name: parachuteOld}, {Name: "caddy"}, {Name: "nginx"}}}
	cpu := func(ours, old, caddy, nginx float64) *Comparison {
		return comparison("get/64", cpuPerRequest, map[string]float64{parachute: ours, parachuteOld: old, "caddy": caddy, "nginx": nginx})
	}
	deploys := func(many ...float64) *Comparison { // with 10 services they take 5, 10 and 15 ms
		c := newComparison(&Scenario{Name: "services/10000", Metrics: []Metric{deployTime, deployTimeFew}})
		for i, v := range many {
			c.add(parachute, Sample{Values: map[string]float64{deployTime.Key: v, deployTimeFew.Key: 5 * float64(i+1)}})
		}
		return c
	}
	r.Comparisons = append(r.Comparisons, comparison("services/1", cpuPerRequest, map[string]float64{parachute: 4}))
	for _, c := range []struct {
		name    string
		measure func(*Report, *Comparison) (string, bool, bool)
		in      *Comparison
		value   string
		met, ok bool
	}{
		{"within a ratio", ratioBudget("caddy", cpuPerRequest, 0.4), cpu(4, 9, 10, 1), "0.40", true, true},
		{"beyond a ratio", ratioBudget("caddy", cpuPerRequest, 0.4), cpu(4.2, 9, 10, 1), "0.42", false, true},
		{"no such peer", ratioBudget("haproxy", cpuPerRequest, 0.4), cpu(4, 9, 10, 1), "", false, false},
		{"the best", bestBudget(cpuPerRequest, "caddy", "nginx"), cpu(4, 1, 10, 5), "0.80 of nginx", true, true},
		{"not the best", bestBudget(cpuPerRequest, "caddy", "nginx"), cpu(4, 9, 10, 2), "2.00 of nginx", false, true},
		{"within a value", valueBudget(cpuPerRequest, 100), cpu(99, 1, 1, 1), "99.0 µs", true, true},
		{"beyond a value", valueBudget(cpuPerRequest, 100), cpu(101, 1, 1, 1), "101.0 µs", false, true},
		{"no growth", growthBudget(deployTime, deployTimeFew), deploys(5.4, 10.8, 30), "1.08 of it", true, true},
		{"growth", growthBudget(deployTime, deployTimeFew), deploys(6, 12, 12), "1.20 of it", false, true},
		{"within another scenario", scenarioBudget("services/1", cpuPerRequest, 1.25), cpu(5, 1, 1, 1), "1.25 of it", true, true},
		{"beyond another scenario", scenarioBudget("services/1", cpuPerRequest, 1.25), cpu(6, 1, 1, 1), "1.50 of it", false, true},
		{"no other scenario", scenarioBudget("services/2", cpuPerRequest, 1.25), cpu(6, 1, 1, 1), "", false, false},
		{"nothing to compare", growthBudget(deployTime, deployTimeFew), cpu(1, 1, 1, 1), "", false, false},
	} {
		value, met, ok := c.measure(r, c.in)
		if ok != c.ok || ok && (value != c.value || met != c.met) {
			t.Errorf("%s: %q, %v, %v", c.name, value, met, ok)
		}
	}
}
