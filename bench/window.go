package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/bench/internal/process"
)

// window is what has happened between two moments.
type window struct {
	elapsed  time.Duration
	requests int64
	cpu      time.Duration // of the proxy
	load     time.Duration // CPU time of the load generator and the upstream
	busy     time.Duration // CPU time of all processes on the machine
	cores    time.Duration // CPU time that all cores together had to give
}

// observe waits, and returns what has happened in the meantime.
func observe(ctx context.Context, e *Environment, d time.Duration, p *peer.Proxy, l generator) (window, error) {
	before, err := e.look(p, l)
	if err != nil {
		return window{}, err
	}
	sleep(ctx, d)
	after, err := e.look(p, l)
	if err != nil {
		return window{}, err
	}
	return window{
		elapsed:  after.elapsed - before.elapsed,
		requests: after.requests - before.requests,
		cpu:      after.cpu - before.cpu,
		load:     after.load - before.load,
		busy:     after.busy - before.busy,
		cores:    after.cores - before.cores,
	}, ctx.Err()
}

// processStart is the beginning of all windows.
var processStart = time.Now()

// look returns what has happened since the start of everything.
func (e *Environment) look(p *peer.Proxy, l generator) (window, error) {
	var w window
	var err error
	if w.cpu, err = p.CPUTime(); err != nil {
		return w, err
	}
	w.elapsed, w.requests = time.Since(processStart), l.Requests()
	var own unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &own); err != nil {
		return w, fmt.Errorf("reading the clock of this process: %w", err)
	}
	upstream, err := e.upstream.CPUTime()
	if err != nil {
		return w, err
	}
	w.load = time.Duration(own.Nano()) + upstream
	ticks, err := readCPUTicks()
	w.busy = time.Duration(ticks.busy) * time.Second / process.ClockTicks
	w.cores = time.Duration(ticks.busy+ticks.interrupts+ticks.stolen+ticks.idle) * time.Second / process.ClockTicks
	return w, err
}

// othersPercent returns how much of all cores was used by programs that have
// nothing to do with the benchmark. A run in which that is a lot is of little use:
// where the load generator has to wait for its core, a proxy has nothing to do
// between two requests, and waking it up can cost more than a request.
func (w window) othersPercent() float64 {
	if w.cores == 0 {
		return 0
	}
	// Ticks are coarse, so there can seem to be less than nothing.
	return max(0, 100*float64(w.busy-w.cpu-w.load)/float64(w.cores))
}
