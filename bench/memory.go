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

// idleWebSockets is what a WebSocket costs that says nothing, as most of them do
// most of the time.
func idleWebSockets(n int) *Scenario {
	return &Scenario{
		Name: "websocket/idle", Title: thousands(n) + " open",
		Metrics: []Metric{webSocketMemory}, Isolation: Fresh, PartOfQuick: true,
		Measure: func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
			n := n
			if e.Quick {
				n = 100
			}
			// What parachute gives back of its program comes again with the first of them.
			sleep(ctx, e.IdlePause)
			first, err := load.OpenWebSockets(ctx, load.Server{Addr: p.Addr}, peer.Host, upstream.WebSocket, n/100)
			if err != nil {
				return Sample{Errors: 1, Error: err.Error()}, ctx.Err()
			}
			defer first.Close()
			before, err := p.Memory()
			if err != nil {
				return Sample{}, err
			}
			ws, err := load.OpenWebSockets(ctx, load.Server{Addr: p.Addr}, peer.Host, upstream.WebSocket, n)
			if err != nil {
				return Sample{Errors: 1, Error: err.Error()}, ctx.Err()
			}
			defer ws.Close()
			sleep(ctx, e.RestPause)
			after, err := p.Memory()
			if err != nil {
				return Sample{}, err
			}
			sample := Sample{
				Requests: int64(n),
				Values:   map[string]float64{webSocketMemory.Key: float64(after.PSS-before.PSS) / 1024 / float64(n)},
			}
			if err := ws.Check(); err != nil {
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
