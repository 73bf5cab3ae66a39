package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/bench/internal/process"
)

// Environment is what scenarios run in.
type Environment struct {
	Options
	Pinning     process.Pinning
	Upstreams   []string // host:port of upstreams that are all the same
	Certificate *peer.Certificate

	dir      string
	upstream *process.Process
}

// openFiles is how many descriptors are asked for: 2,000 WebSockets need two each
// in a proxy, and HAProxy wants to know beforehand.
const openFiles = 20_000

// newEnvironment makes a temporary directory, starts the upstream and raises the
// limit of open files, for the proxies as well, which inherit it.
func newEnvironment(o Options, pinning process.Pinning) (*Environment, error) {
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("asking for the limit of open files: %w", err)
	}
	limit.Cur = min(limit.Max, openFiles)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("raising the limit of open files to %d: %w", limit.Cur, err)
	}
	dir, err := os.MkdirTemp("", "parachute-bench-")
	if err != nil {
		return nil, err
	}
	e := &Environment{Options: o, Pinning: pinning, dir: dir}
	if e.Certificate, err = peer.NewCertificate(dir); err == nil {
		err = e.startUpstream()
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Environment) startUpstream() error {
	log := e.path("upstream.log")
	p, err := process.Start(process.Options{
		Path: "/proc/self/exe", Args: []string{"bench", upstreamCommand}, CPUs: e.Pinning.Load, Log: log,
	})
	if err != nil {
		return err
	}
	e.upstream = p
	return p.Wait(10*time.Second, func() error {
		printed, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if strings.Count(string(printed), "\n") < upstreamListeners {
			return errors.New("it does not listen yet")
		}
		e.Upstreams = strings.Fields(string(printed))
		return nil
	})
}

// start starts a proxy for a scenario.
func (e *Environment) start(ctx context.Context, p peer.Peer, s *Scenario) (*peer.Proxy, error) {
	dir, err := os.MkdirTemp(e.dir, "proxy-")
	if err != nil {
		return nil, err
	}
	setup := peer.Setup{
		Dir:       dir,
		CPUs:      e.Pinning.Proxy,
		Upstream:  e.Upstreams[0],
		AccessLog: s.AccessLog,

		Directives: s.Directives,
	}
	if s.TLS {
		setup.Certificate = e.Certificate
	}
	return p.Start(ctx, setup)
}

// path returns the path of a temporary file.
func (e *Environment) path(name string) string { return filepath.Join(e.dir, name) }

// Close ends the upstream and removes the temporary directory.
func (e *Environment) Close() {
	if e.upstream != nil {
		e.upstream.Stop()
	}
	os.RemoveAll(e.dir)
}
