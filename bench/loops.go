package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/load"
	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// closedLoop makes requests over HTTP/1.1 as fast as the proxy answers them.
func closedLoop(connections int, request load.Request) measure {
	return func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
		return measureLoad(ctx, e, p, load.StartClosed(load.Server{Addr: p.Addr}, connections, request))
	}
}

// closedLoopTLS is closedLoop over TLS.
func closedLoopTLS(connections int, request load.Request) measure {
	return func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
		return measureLoad(ctx, e, p, load.StartClosed(tlsServer(e, p, "http/1.1"), connections, request))
	}
}

// streams makes requests over HTTP/2 as fast as the proxy answers them.
func streams(connections, streams int, request load.Request) measure {
	return func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error) {
		l, err := load.StartStreams(tlsServer(e, p, "h2"), connections, streams, request)
		if err != nil {
			return Sample{}, err
		}
		return measureLoad(ctx, e, p, l)
	}
}

func tlsServer(e *Environment, p *peer.Proxy, protocol string) load.Server {
	return load.Server{Addr: p.TLSAddr, TLS: &tls.Config{
		RootCAs: e.Certificate.Roots, ServerName: peer.Host, NextProtos: []string{protocol},
	}}
}

// generator is a load that runs until it is stopped.
type generator interface {
	Requests() int64
	Stop() load.Result
}

// measureLoad measures a proxy under a load that has just started, and stops the
// load. It waits until all connections are open and busy, and then takes what the
// proxy uses and what it answers between two moments.
func measureLoad(ctx context.Context, e *Environment, p *peer.Proxy, l generator) (Sample, error) {
	sleep(ctx, e.Settle)
	w, err := observe(ctx, e, e.Duration, p, l)
	result := l.Stop()
	if err != nil {
		return Sample{}, err
	}
	sample := Sample{Requests: w.requests, Errors: result.Errors, Others: w.othersPercent(), Values: make(map[string]float64)}
	if w.requests == 0 && result.FirstError == nil {
		sample.Errors, result.FirstError = 1, fmt.Errorf("no request was answered within %s", w.elapsed)
	}
	if result.FirstError != nil {
		sample.Error = result.FirstError.Error()
	}
	if w.requests > 0 {
		sample.Values[throughput.Key] = float64(w.requests) / w.elapsed.Seconds()
		sample.Values[cpuPerRequest.Key] = microseconds(w.cpu) / float64(w.requests)
	}
	return sample, nil
}

// sleep waits, or returns early when the benchmark is interrupted.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
