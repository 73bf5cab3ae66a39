package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// profile writes a CPU profile of one more sample, which counts for nothing else,
// since profiling takes time, too. `go tool pprof -top FILE` shows it.
func (r *runner) profile(ctx context.Context, s *Scenario, p *peer.Proxy) error {
	profiler, ok := p.Deployer.(peer.Profiler)
	if !ok {
		return nil
	}
	type result struct {
		profile []byte
		err     error
	}
	done := make(chan result, 1)
	go func() {
		profile, err := profiler.Profile(ctx, int(math.Ceil(r.env.Duration.Seconds())))
		done <- result{profile, err}
	}()
	_, err := r.measure(ctx, r.env, s, p)
	got := <-done
	if err := errors.Join(err, got.err); err != nil {
		return fmt.Errorf("profiling parachute: %w", err)
	}
	path := filepath.Join(r.env.Profiles, strings.ReplaceAll(s.Name, "/", "-")+".pprof")
	if err := os.WriteFile(path, got.profile, 0o644); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}
