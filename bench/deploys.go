package main

import (
	"context"
	"fmt"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/load"
	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// deployInterval is the time between the starts of two deploys. One that takes
// longer is followed by the next at once.
const deployInterval = 200 * time.Millisecond

// deployUnderLoad is what it costs when a service moves between two upstreams all
// the time. No request may fail.
func deployUnderLoad(connections int, request load.Request) *Scenario {
	return &Scenario{
		Name: "deploy/load", Title: "small GET, 64 connections, a deploy every 200 ms",
		Metrics:    []Metric{cpuPerRequest, throughput, deployTime},
		DeployOnly: true, PartOfQuick: true,
		Measure: func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
			l := startDeployLoad(ctx, e, p, connections, request)
			sample, err := measureLoad(ctx, e, p, l)
			if err == nil && len(l.took) > 0 {
				sample.Values[deployTime.Key] = median(l.took)
			}
			return sample, err
		},
	}
}

// deployLoad is a load during which deploys go on.
type deployLoad struct {
	*load.Closed
	cancel context.CancelFunc
	done   chan struct{}

	// These are not to be touched before done is closed.
	took []float64 // milliseconds
	err  error
}

func startDeployLoad(ctx context.Context, e *Environment, p *peer.Proxy, connections int, request load.Request) *deployLoad {
	l := &deployLoad{
		Closed: load.StartClosed(load.Server{Addr: p.Addr}, connections, request),
		done:   make(chan struct{}),
	}
	loop, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	go func() {
		defer close(l.done)
		ticks := time.NewTicker(deployInterval)
		defer ticks.Stop()
		for i := 1; ; i++ {
			var err error
			l.took, err = appendTime(l.took, func() error {
				// Not with the loop's context: the last deploy is to end well, too.
				return deploy(ctx, p, peer.Deployment{Service: peer.Service, Host: peer.Host, Target: e.Upstreams[i%len(e.Upstreams)]})
			})
			if err != nil {
				l.err = fmt.Errorf("deploying: %w", err)
				return
			}
			select {
			case <-loop.Done():
				return
			case <-ticks.C:
			}
		}
	}()
	return l
}

// Stop implements generator.
func (l *deployLoad) Stop() load.Result {
	l.cancel()
	<-l.done
	result := l.Closed.Stop()
	if l.err != nil {
		result.Errors++
		result.FirstError = l.err
	}
	return result
}

// deployTimeout bounds one deploy.
const deployTimeout = 60 * time.Second

func deploy(ctx context.Context, p *peer.Proxy, d peer.Deployment) error {
	ctx, cancel := context.WithTimeout(ctx, deployTimeout)
	defer cancel()
	return p.Deployer.Deploy(ctx, d)
}
