package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/load"
	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// errTooSlow is returned by Scenario.Prepare when a proxy does not get ready
// within bounds. The proxy is left out of the scenario then.
var errTooSlow = errors.New("left out")

const (
	// servicesTimeout bounds how long the deploying of all services may take.
	servicesTimeout = 90 * time.Second
	// deploying is how many services are deployed at the same time.
	deploying = 16
	// hostsAsked bounds how many services get requests.
	hostsAsked = 1000
	// fewServices is what a proxy has that deploys to one with more are compared with.
	fewServices = 10
	// listsTimed and deploysTimed are how many lists and deploys make a sample.
	listsTimed, deploysTimed = 5, 25
)

// manyServices is what it costs to have n services, each with a host of its own.
// Requests go to random ones.
func manyServices(n int) *Scenario {
	title := thousands(n) + " services"
	if n == 1 {
		title = "1 service"
	}
	s := &Scenario{
		Name: fmt.Sprintf("services/%d", n), Title: title,
		Metrics:    []Metric{cpuPerRequest, memory, cpuAtRest, deployTime, listTime},
		DeployOnly: true, Isolation: Alone, PartOfQuick: n == 100,
		Prepare: func(ctx context.Context, e *Environment, proxies []*peer.Proxy) (string, error) {
			for _, p := range proxies {
				if err := deployServices(ctx, p, n, e.Upstreams[0]); err != nil {
					return "", err
				}
			}
			return "", nil
		},
	}
	if n > fewServices {
		s.Metrics = append(s.Metrics, deployTimeFew)
	}
	s.Measure = func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
		return measureServices(ctx, e, s, p, n)
	}
	return s
}

func measureServices(ctx context.Context, e *Environment, s *Scenario, p *peer.Proxy, n int) (Sample, error) {
	resting, err := measureRest(ctx, e, p)
	if err != nil {
		return Sample{}, err
	}
	m, err := p.Memory()
	if err != nil {
		return Sample{}, err
	}
	random := rand.New(rand.NewPCG(e.Seed, 2))
	requests := make([]load.Request, min(n, hostsAsked))
	for i := range requests {
		requests[i] = small
		requests[i].Host = serviceHost(random.IntN(n))
	}
	sample, err := measureLoad(ctx, e, p, load.StartClosed(load.Server{Addr: p.Addr}, 64, requests...))
	if err != nil {
		return sample, err
	}
	sample.Values[cpuAtRest.Key] = resting
	sample.Values[memory.Key] = mebibytes(m.PSS)
	// Before the lists, whose garbage would be collected meanwhile.
	if err := measureDeploys(ctx, e, s, sample, random, services{p, n}); err != nil {
		return sample, fmt.Errorf("deploying: %w", err)
	}
	var took []float64
	for range listsTimed {
		if took, err = appendTime(took, func() error { return p.Deployer.List(ctx) }); err != nil {
			return sample, fmt.Errorf("listing services: %w", err)
		}
	}
	sample.Values[listTime.Key] = median(took)
	return sample, ctx.Err()
}

// services is a proxy with as many services.
type services struct {
	*peer.Proxy
	n int
}

// measureDeploys times deploys to random services. If the proxy has many, it times as
// many deploys to another process with few of them, by turns: how long a deploy takes
// varies more from minute to minute than by the number of services.
func measureDeploys(ctx context.Context, e *Environment, s *Scenario, sample Sample, random *rand.Rand, many services) error {
	turns := []services{many}
	if many.n > fewServices {
		p, err := e.start(ctx, many.Peer, s)
		if err != nil {
			return fmt.Errorf("starting another %s: %w", many.Peer.Name(), err)
		}
		defer p.Stop()
		if err := deployServices(ctx, p, fewServices, e.Upstreams[0]); err != nil {
			return err
		}
		turns = append(turns, services{p, fewServices})
	}
	took := make([][]float64, len(turns))
	for range deploysTimed {
		for i, t := range turns {
			d := serviceDeployment(random.IntN(t.n), e.Upstreams[random.IntN(len(e.Upstreams))])
			var err error
			if took[i], err = appendTime(took[i], func() error { return deploy(ctx, t.Proxy, d) }); err != nil {
				return err
			}
		}
	}
	for i, m := range []Metric{deployTime, deployTimeFew}[:len(turns)] {
		sample.Values[m.Key] = median(took[i])
	}
	return nil
}

// appendTime appends how long act takes, in milliseconds.
func appendTime(took []float64, act func() error) ([]float64, error) {
	began := time.Now()
	err := act()
	return append(took, milliseconds(time.Since(began))), err
}

// deployServices deploys as many services as are missing, without health checks,
// so that nothing but the proxy's own work takes time.
func deployServices(ctx context.Context, p *peer.Proxy, n int, target string) error {
	limited, cancel := context.WithTimeout(ctx, servicesTimeout)
	defer cancel()
	var (
		next, deployed atomic.Int64
		users          sync.WaitGroup
		failed         = make(chan error, deploying)
	)
	next.Store(1) // the first is there
	for range deploying {
		users.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				d := serviceDeployment(i, target)
				d.Force = true
				if err := p.Deployer.Deploy(limited, d); err != nil {
					failed <- err
					return
				}
				deployed.Add(1)
			}
		})
	}
	users.Wait()
	close(failed)
	err := <-failed
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("%w: %d services were deployed within %s", errTooSlow, deployed.Load(), servicesTimeout)
	default:
		return fmt.Errorf("deploying services: %w", err)
	}
}

// serviceDeployment is a deployment of the service with a number. Number 0 is the
// one that proxies start with.
func serviceDeployment(i int, target string) peer.Deployment {
	d := peer.Deployment{Service: peer.Service, Host: serviceHost(i), Target: target}
	if i > 0 {
		d.Service = fmt.Sprintf("%s-%d", peer.Service, i)
	}
	return d
}

func serviceHost(i int) string {
	if i == 0 {
		return peer.Host
	}
	return fmt.Sprintf("app-%d.%s", i, peer.Host)
}

// thousands writes a number below a million with a comma.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// measureRest returns how many percent of a core the proxy uses while it gets no
// requests.
func measureRest(ctx context.Context, e *Environment, p *peer.Proxy) (float64, error) {
	w, err := observe(ctx, e, e.RestPause, p, noLoad{})
	return 100 * w.cpu.Seconds() / w.elapsed.Seconds(), err
}

// noLoad is a generator of nothing.
type noLoad struct{}

func (noLoad) Requests() int64   { return 0 }
func (noLoad) Stop() load.Result { return load.Result{} }
