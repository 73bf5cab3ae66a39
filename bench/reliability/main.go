// Command reliability counts the requests that proxies lose when their operator reloads, upgrades
// or restarts them: parachute, Caddy's reverse_proxy, kamal-proxy, nginx and HAProxy, under the same
// clients, which repeat nothing. `make reliability` runs it; docs/RELIABILITY.md has its tables.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "reliability: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("reliability", flag.ContinueOnError)
	binary := flags.String("parachute", "../bin/parachute", "the parachute `binary`")
	only := flags.String("proxies", "", "try only proxies whose name matches this `regexp`; parachute always takes part")
	which := flags.String("changes", "", "make only changes whose name matches this `regexp`: reload, upgrade or restart")
	times := flags.Int("times", 20, "how `often` each change is made")
	clients := flags.Int("clients", 2, "how many clients there are of each class")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// The commands that are run are those of the same program.
	path, err := filepath.Abs(*binary)
	if err == nil {
		err = os.Setenv("PARACHUTE_BIN", path)
	}
	if err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("parsing -proxies: %w", err)
	}
	chosen, err := regexp.Compile(*which)
	if err != nil {
		return fmt.Errorf("parsing -changes: %w", err)
	}
	dir, err := os.MkdirTemp("", "parachute-reliability-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	certificate, err := peer.NewCertificate(dir)
	if err != nil {
		return err
	}
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(upstream, http.HandlerFunc(answer)) }()
	setup := peer.Setup{Dir: dir, Upstream: upstream.Addr().String(), Certificate: certificate}
	proxies, err := findProxies(ctx, setup, path, pattern, out)
	if err != nil {
		return err
	}
	for _, change := range changes {
		if !chosen.MatchString(string(change)) {
			continue
		}
		t := table{change: change, lost: make(map[string]map[string]string)}
		for _, p := range proxies {
			if p.change(change) == nil {
				continue
			}
			suffered, err := suffer(ctx, p, change, *times, *clients)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", p.name(), change, err)
			}
			t.add(p.name(), suffered)
		}
		t.write(out, *times)
	}
	return nil
}

// answer is the application: it reads the request, and says yes.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "Hello, World!")
}
