package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/parachute-proxy/parachute/bench/internal/load"
	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// latencyAtHalfLoad is how long requests take that come at random moments, as
// many per second for every proxy: half of what the slowest of them can do. Each
// at half of its own would compare different questions: users do not come less
// often because a proxy is slow.
func latencyAtHalfLoad(connections int, request load.Request) *Scenario {
	var rate float64 // requests per second
	return &Scenario{
		Name:    "latency/half",
		Title:   "small GET at the same load",
		Floored: true,
		Metrics: []Metric{p50, p99, cpuPerRequest},
		Prepare: func(ctx context.Context, e *Environment, proxies []*peer.Proxy) (string, error) {
			slowest := math.Inf(1) // requests per second
			for _, p := range proxies {
				sample, err := closedLoop(connections, request)(ctx, e, p)
				if err != nil {
					return "", err
				}
				// One that answers nothing is reported in the rounds.
				if v, ok := sample.Values[throughput.Key]; ok {
					slowest = min(slowest, v)
				}
			}
			if rate = slowest / 2; math.IsInf(rate, 1) {
				return "", errors.New("no proxy answers")
			}
			return fmt.Sprintf("%.0f requests per second, half of what the slowest proxy can do", rate), nil
		},
		Measure: func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
			l, err := load.StartOpen(load.Server{Addr: p.Addr}, connections, rate, request, e.Seed)
			if err != nil {
				return Sample{}, err
			}
			sleep(ctx, e.Settle)
			l.Reset()
			sample, err := measureLoad(ctx, e, p, l)
			if err != nil {
				return sample, err
			}
			latencies := l.Latencies()
			slices.Sort(latencies)
			if len(latencies) > 0 {
				sample.Values[p50.Key] = microseconds(percentile(latencies, 50))
				sample.Values[p99.Key] = microseconds(percentile(latencies, 99))
			}
			return sample, nil
		},
	}
}
