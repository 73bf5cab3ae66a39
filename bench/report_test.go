package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// sampleReport has one scenario with three rounds of three proxies, one of which
// has failed a request.
func sampleReport() *Report {
	s := &Scenario{Name: "get/64", Title: "small GET", Metrics: []Metric{cpuPerRequest, throughput}}
	c := newComparison(s)
	for _, cpu := range []float64{10, 40, 20} { // every round disturbs both alike
		c.add(parachute, Sample{Requests: 1000, Values: map[string]float64{cpuPerRequest.Key: cpu, throughput.Key: 1000}})
		c.add("nginx", Sample{Requests: 1000, Values: map[string]float64{cpuPerRequest.Key: cpu / 2, throughput.Key: 2000}})
	}
	c.add("caddy", Sample{Errors: 2, Error: "the status was 502"})
	c.Notes = []string{"a word"}
	return &Report{
		Machine: Machine{CPU: "Model T", Cores: 2, Memory: 8 << 30, ProxyCores: "0", LoadCores: "1"},
		Rounds:  3, Duration: "2s",
		Peers:       []PeerInfo{{parachute, "v1"}, {"caddy", "v2"}, {"nginx", "1.0"}},
		Comparisons: []*Comparison{c},
	}
}

func TestRatioIsTheMedianOfTheRounds(t *testing.T) {
	c := newComparison(&Scenario{})
	for i, v := range []float64{1, 2, 30} {
		c.add(parachute, Sample{Values: map[string]float64{cpuPerRequest.Key: v}})
		c.add("nginx", Sample{Values: map[string]float64{cpuPerRequest.Key: []float64{2, 20, 60}[i]}})
	}
	if ratio, ok := c.Ratio("nginx", cpuPerRequest); !ok || ratio != 0.5 {
		t.Errorf("%v, %v", ratio, ok)
	}
	if ratio, ok := c.Ratio("haproxy", cpuPerRequest); ok {
		t.Errorf("%v of a proxy that did not take part", ratio)
	}
}

// What rounds to 0 is no base of a ratio.
func TestNoRatioToNothing(t *testing.T) {
	c := newComparison(&Scenario{})
	c.add(parachute, Sample{Values: map[string]float64{cpuAtRest.Key: 3}})
	c.add("nginx", Sample{Values: map[string]float64{cpuAtRest.Key: 0.001}})
	if got := c.cell("nginx", cpuAtRest).String(); got != "0.00" {
		t.Errorf("%q", got)
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := sampleReport().writeText(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"CPU time per request, µs parachute caddy nginx",
		"small GET 20.0 – ! 10.0 (2.00)",
		"small GET 1000 – ! 2000 (0.50)",
		"get/64: a word",
		"! get/64: caddy: 2 errors, such as: the status was 502",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(text, memoryTable.Title) {
		t.Error("there is a table without rows")
	}
}

func TestMarkdown(t *testing.T) {
	page, err := sampleReport().markdown()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{
		"| `get/64` | small GET | 20.0 | – ! | 10.0 (2.00) |",
		"| at most 1.00 of nginx | 2.00 | no | `make bench BENCH_FLAGS=\"-run get/64\"` |",
		"| less than 100 MiB | not measured | – | `make bench BENCH_FLAGS=\"-run services/10000\"` |",
		"8 GiB of memory",
		"- **!** get/64: caddy: 2 errors",
		"## What limits us",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	// A table is cut short by an empty line.
	for _, cut := range []string{"|\n\n|", "\n\n\n"} {
		if i := strings.Index(text, cut); i >= 0 {
			t.Errorf("%q in %q", cut, text[max(0, i-200):i+50])
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	if err := sampleReport().writeJSON(path); err != nil {
		t.Fatal(err)
	}
	got, err := readJSON(path)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Comparisons[0]
	if len(c.Samples["nginx"]) != 3 || c.Figures[0].Medians[parachute] != 20 || c.Figures[0].Ratios["nginx"] != 2 {
		t.Errorf("%+v", c)
	}
	// It is as good as the original.
	var want, again strings.Builder
	if err := errors.Join(sampleReport().writeText(&want), got.writeText(&again)); err != nil {
		t.Fatal(err)
	}
	if again.String() != want.String() {
		t.Errorf("%s\ninstead of\n%s", again.String(), want.String())
	}
}
