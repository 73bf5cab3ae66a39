package peer

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/parachute-proxy/parachute/bench/internal/process"
)

// Floor is the program in the directory floor: the least that any proxy in Go needs.
type Floor struct {
	Binary string // path
}

// Build builds the binary. The working directory has to be that of the benchmark.
func (f Floor) Build(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", f.Binary, "./floor").CombinedOutput(); err != nil {
		return fmt.Errorf("building floor: %w\n%s", err, out)
	}
	return nil
}

// Name implements Peer.
func (Floor) Name() string { return "floor" }

// Deploys implements Peer.
func (Floor) Deploys() bool { return false }

// Version implements Peer.
func (Floor) Version(context.Context) (string, error) { return "no proxy", nil }

// Start implements Peer.
func (f Floor) Start(_ context.Context, s Setup) (*Proxy, error) {
	addr, _, err := freeAddr()
	if err != nil {
		return nil, err
	}
	tlsAddr, _, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{"floor", "-http", addr, "-https", tlsAddr, "-upstream", s.Upstream, "-host", Host}
	addrs := []string{addr}
	if s.Certificate != nil {
		args = append(args, "-cert", s.Certificate.CertFile, "-key", s.Certificate.KeyFile)
		addrs = append(addrs, tlsAddr)
	}
	proc, err := start(s, process.Options{Path: f.Binary, Args: args})
	if err != nil {
		return nil, err
	}
	if err := proc.Wait(startTimeout, func() error { return listening(addrs...) }); err != nil {
		proc.Stop()
		return nil, err
	}
	return &Proxy{Process: proc, Peer: f, Addr: addr, TLSAddr: tlsAddr}, nil
}
