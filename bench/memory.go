package main

import (
	"context"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/load"
	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/bench/internal/upstream"
)

// Memory is measured as the proportional set size of a proxy that runs alone: what
// nginx's two processes share is counted once, and nothing is shared with another
// contestant that runs from the same binary.

// idlePause is how long nothing happens before memory is measured: time for a
// runtime to give back what it does not need, at its own pace. Nobody is told to
// collect garbage, because nobody is in production either. Parachute gives back what only its
// start has needed when nothing has happened for ten seconds.
const idlePause = 15 * time.Second

// restPause is the same for a proxy that has done a lot of work shortly before.
const restPause = 25 * time.Second

// idle are connections that are open and say nothing.
type idle interface {
	// Check fails if one of them is not open any more.
	Check() error
	Close()
}

// idleWebSockets is what a WebSocket costs that says nothing, as most of them do
// most of the time.
func idleWebSockets(n int) *Scenario {
	return idleConnections("websocket/idle", n, webSocketMemory, func(ctx context.Context, _ *Environment, p *peer.Proxy, n int) (idle, error) {
		return load.OpenWebSockets(ctx, load.Server{Addr: p.Addr}, peer.Host, upstream.WebSocket, n)
	})
}

// idlePlain is what a connection costs that is kept alive for the next request.
func idlePlain(n int) *Scenario {
	return idleConnections("idle/plain", n, idleMemory, func(ctx context.Context, _ *Environment, p *peer.Proxy, n int) (idle, error) {
		return load.OpenIdle(ctx, load.Server{Addr: p.Addr}, n, small)
	})
}

// idleTLS is idlePlain over TLS.
func idleTLS(n int) *Scenario {
	s := idleConnections("idle/tls", n, idleMemory, func(ctx context.Context, e *Environment, p *peer.Proxy, n int) (idle, error) {
		return load.OpenIdle(ctx, tlsServer(e, p, "http/1.1"), n, small)
	})
	s.Title += " over TLS"
	s.TLS = true
	return s
}

// idleConnections is what one of n connections costs, each of which has been in use.
func idleConnections(name string, n int, m Metric, open func(ctx context.Context, e *Environment, p *peer.Proxy, n int) (idle, error)) *Scenario {
	return &Scenario{
		Name: name, Title: thousands(n) + " open",
		Metrics: []Metric{m}, Isolation: Fresh, PartOfQuick: true,
		Measure: func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
			n := n
			if e.Quick {
				n = 100
			}
			// What parachute gives back of its program comes again with the first of them.
			sleep(ctx, e.IdlePause)
			first, err := open(ctx, e, p, n/100)
			if err != nil {
				return Sample{Errors: 1, Error: err.Error()}, ctx.Err()
			}
			defer first.Close()
			before, err := p.Memory()
			if err != nil {
				return Sample{}, err
			}
			all, err := open(ctx, e, p, n)
			if err != nil {
				return Sample{Errors: 1, Error: err.Error()}, ctx.Err()
			}
			defer all.Close()
			sleep(ctx, e.RestPause)
			after, err := p.Memory()
			if err != nil {
				return Sample{}, err
			}
			sample := Sample{
				Requests: int64(n),
				Values:   map[string]float64{m.Key: float64(after.PSS-before.PSS) / 1024 / float64(n)},
			}
			if err := all.Check(); err != nil {
				sample.Errors, sample.Error = 1, err.Error()
			}
			return sample, ctx.Err()
		},
	}
}

// memoryAtRest is what a proxy occupies that has been started, has one service,
// and has not been asked for anything.
var memoryAtRest = &Scenario{
	Name: "memory/rest", Title: "after the start, one service",
	Metrics: []Metric{memory}, Isolation: Fresh,
	Measure: func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
		sleep(ctx, e.IdlePause)
		m, err := p.Memory()
		if err != nil {
			return Sample{}, err
		}
		return Sample{Values: map[string]float64{memory.Key: mebibytes(m.PSS)}}, ctx.Err()
	},
}
