// Command bench measures parachute beside the proxies that do the same work:
// Caddy's reverse_proxy, kamal-proxy, nginx and HAProxy, all before one upstream,
// in alternating rounds. `make bench` runs it; docs/PERFORMANCE.md is its report.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/parachute-proxy/parachute/bench/internal/upstream"
)

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == upstreamCommand {
		err = serveUpstream()
	} else {
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, os.Args[1:], os.Stdout)
		cancel()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// upstreamCommand makes this program the upstream.
const upstreamCommand = "upstream"

// upstreamListeners are how many addresses the upstream listens on. Deploys go
// from one to the other.
const upstreamListeners = 2

// serveUpstream prints the addresses that it listens on, then answers requests
// for as long as the program runs.
func serveUpstream() error {
	failed := make(chan error)
	for range upstreamListeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		fmt.Println(l.Addr())
		go func() { failed <- upstream.Serve(l) }()
	}
	return <-failed
}
