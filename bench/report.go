package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Report is all that a run has found.
type Report struct {
	Machine     Machine       `json:"machine"`
	Began       time.Time     `json:"began"`
	Seed        uint64        `json:"seed"`
	Rounds      int           `json:"rounds"`
	Duration    string        `json:"duration"` // of one measurement
	Peers       []PeerInfo    `json:"peers"`    // parachute is the first
	Missing     []string      `json:"missing,omitempty"`
	Comparisons []*Comparison `json:"scenarios"`
}

// PeerInfo says who took part.
type PeerInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Comparison is what has been found in one scenario.
type Comparison struct {
	Scenario *Scenario           `json:"-"`
	Name     string              `json:"name"`
	Title    string              `json:"title"`
	Notes    []string            `json:"notes,omitempty"`
	Figures  []Figure            `json:"figures,omitempty"` // what tables show; set by writeJSON
	Samples  map[string][]Sample `json:"samples"`           // by name of the proxy, one for each round
}

// Figure is a metric of all proxies.
type Figure struct {
	Metric string `json:"metric"` // Metric.Key
	Unit   string `json:"unit"`
	// Medians and Ratios are by name of the proxy; see the methods of Comparison.
	Medians map[string]float64 `json:"medians"`
	Ratios  map[string]float64 `json:"ratios"`
}

func newComparison(s *Scenario) *Comparison {
	return &Comparison{Scenario: s, Name: s.Name, Title: s.Title, Samples: make(map[string][]Sample)}
}

func (c *Comparison) add(peer string, s Sample) { c.Samples[peer] = append(c.Samples[peer], s) }

// Median returns the median of a metric over all rounds, and whether there is one.
func (c *Comparison) Median(peer string, m Metric) (value float64, ok bool) {
	var values []float64
	for _, s := range c.Samples[peer] {
		if v, ok := s.Values[m.Key]; ok {
			values = append(values, v)
		}
	}
	return median(values), len(values) > 0
}

// Ratio returns what parachute has in proportion to a peer: the median over all
// rounds of the ratio within a round, because what disturbs a round disturbs all
// proxies in it.
func (c *Comparison) Ratio(peer string, m Metric) (ratio float64, ok bool) {
	return medianRatio(c.Samples[parachute], m, c.Samples[peer], m)
}

// medianRatio returns the median of the ratios of a metric to another one, of samples of
// the same rounds.
func medianRatio(samples []Sample, m Metric, base []Sample, of Metric) (ratio float64, ok bool) {
	var ratios []float64
	for i := range min(len(samples), len(base)) {
		v, w := samples[i].Values[m.Key], base[i].Values[of.Key]
		if v > 0 && w > 0 {
			ratios = append(ratios, v/w)
		}
	}
	return median(ratios), len(ratios) > 0
}

// Errors returns how many requests to a peer have failed.
func (c *Comparison) Errors(peer string) int64 {
	var n int64
	for _, s := range c.Samples[peer] {
		n += s.Errors
	}
	return n
}

// Errors describes what has failed, a line for each scenario and proxy.
func (r *Report) Errors() []string {
	var lines []string
	for _, c := range r.Comparisons {
		for _, p := range r.Peers {
			if n := c.Errors(p.Name); n > 0 {
				first := ""
				for _, s := range c.Samples[p.Name] {
					if s.Error != "" {
						first = s.Error
						break
					}
				}
				lines = append(lines, fmt.Sprintf("%s: %s: %d errors, such as: %s", c.Name, p.Name, n, first))
			}
		}
	}
	return lines
}

// Notes is what scenarios have to say about themselves.
func (r *Report) Notes() []string {
	var notes []string
	for _, c := range r.Comparisons {
		for _, note := range c.Notes {
			notes = append(notes, c.Name+": "+note)
		}
	}
	return notes
}

// others returns the median of Sample.Others of all samples that had a load.
func (r *Report) others() float64 {
	var all []float64
	for _, c := range r.Comparisons {
		for _, samples := range c.Samples {
			for _, s := range samples {
				if _, ok := s.Values[throughput.Key]; ok {
					all = append(all, s.Others)
				}
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	return median(all)
}

// find returns the comparison of a scenario, or nil.
func (r *Report) find(scenario string) *Comparison {
	for _, c := range r.Comparisons {
		if c.Name == scenario {
			return c
		}
	}
	return nil
}

// figures returns what there is of each metric.
func (c *Comparison) figures() []Figure {
	var figures []Figure
	for _, m := range c.Scenario.Metrics {
		f := Figure{Metric: m.Key, Unit: m.Table.Unit, Medians: make(map[string]float64), Ratios: make(map[string]float64)}
		for peer := range c.Samples {
			if v, ok := c.Median(peer, m); ok {
				f.Medians[peer] = v
			}
			if v, ok := c.Ratio(peer, m); ok && peer != parachute {
				f.Ratios[peer] = v
			}
		}
		figures = append(figures, f)
	}
	return figures
}

// readJSON reads what writeJSON has written.
func readJSON(path string) (*Report, error) {
	encoded, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(encoded, &r); err != nil {
		return nil, fmt.Errorf("reading the report %s: %w", path, err)
	}
	for _, c := range r.Comparisons {
		i := slices.IndexFunc(scenarios, func(s *Scenario) bool { return s.Name == c.Name })
		if i < 0 {
			return nil, fmt.Errorf("reading the report %s: there is no scenario %s any more", path, c.Name)
		}
		c.Scenario = scenarios[i]
	}
	return &r, nil
}

// writeJSON writes the report with every sample.
func (r *Report) writeJSON(path string) error {
	for _, c := range r.Comparisons {
		c.Figures = c.figures()
	}
	encoded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	if err := os.WriteFile(path, append(encoded, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
