package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/bench/internal/process"
)

// Names of our own binaries in tables.
const (
	parachute    = "parachute"
	parachuteOld = "parachute-old"
	floor        = "floor"
)

// errRequestsFailed is returned when everything has been measured, but not
// everything has been answered.
var errRequestsFailed = errors.New("requests failed")

// run does what the command line says.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	chosen := o.scenarios()
	if o.List {
		for _, s := range chosen {
			fmt.Fprintf(out, "%-16s %s\n", s.Name, s.Title)
		}
		return nil
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no scenario matches -run %s; -list lists them", o.Run)
	}
	if o.From != "" {
		report, err := readJSON(o.From)
		if err != nil {
			return err
		}
		return report.write(o, out)
	}
	// From here on everything happens in a process that is pinned.
	pinning, err := process.Pin()
	if err != nil {
		return err
	}
	report, err := measureAll(ctx, o, pinning, chosen, out)
	if err != nil {
		if report != nil && len(report.Comparisons) > 0 {
			_ = report.writeText(out)
		}
		return err
	}
	if err := report.write(o, out); err != nil {
		return err
	}
	if len(report.Errors()) > 0 {
		return errRequestsFailed
	}
	return nil
}

// measureAll runs scenarios. What it has found before an error is returned with
// the error.
func measureAll(ctx context.Context, o Options, pinning process.Pinning, chosen []*Scenario, out io.Writer) (*Report, error) {
	machine, err := describeMachine()
	if err != nil {
		return nil, err
	}
	machine.ProxyCores, machine.LoadCores = pinning.Proxy.String(), pinning.Load.String()
	machine.Cores = max(1, len(pinning.Proxy)+len(pinning.Load))
	ticks, err := readCPUTicks()
	if err != nil {
		return nil, err
	}
	e, err := newEnvironment(o, pinning)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	report := &Report{
		Machine: machine, Began: time.Now().UTC().Truncate(time.Second),
		Seed: o.Seed, Rounds: o.Rounds, Duration: o.Duration.String(),
	}
	if len(pinning.Proxy) == 0 {
		fmt.Fprintln(out, "There is one core only, which the proxies share with load and upstream.")
	} else {
		fmt.Fprintf(out, "Proxies run on core %s; load and upstream on core %s.\n", pinning.Proxy, pinning.Load)
	}
	fmt.Fprintf(out, "The seed is %d.\n", o.Seed)
	r := runner{env: e, random: rand.New(rand.NewPCG(o.Seed, 0)), out: out}
	if r.peers, err = findPeers(ctx, e, report, out); err != nil {
		return nil, err
	}
	fmt.Fprintln(out)
	for _, s := range chosen {
		c, err := r.compare(ctx, s)
		if err != nil {
			return report, err
		}
		report.Comparisons = append(report.Comparisons, c)
	}
	ended, err := readCPUTicks()
	report.Machine.Stolen = ended.stolenSince(ticks)
	report.Machine.Others = report.others()
	return report, err
}

// findPeers returns the proxies that are here, and notes them in the report.
func findPeers(ctx context.Context, e *Environment, report *Report, out io.Writer) ([]peer.Peer, error) {
	candidates := []peer.Peer{peer.Parachute{Label: parachute, Binary: e.Parachute, Flags: e.RunFlags}}
	if e.Baseline != "" {
		candidates = append(candidates, peer.Parachute{Label: parachuteOld, Binary: e.Baseline, Flags: e.BaselineFlags})
	}
	for _, p := range []peer.Peer{peer.Caddy{Binary: e.Parachute}, peer.Kamal{Binary: e.path("kamal-proxy")}, peer.Nginx{}, peer.HAProxy{}} {
		if e.Peers.MatchString(p.Name()) {
			candidates = append(candidates, p)
		}
	}
	if e.Floor {
		candidates = append(candidates, peer.Floor{Binary: e.path("floor")})
	}
	var peers []peer.Peer
	for _, p := range candidates {
		if b, ok := p.(builder); ok {
			if err := b.Build(ctx); err != nil {
				return nil, err
			}
		}
		version, err := askVersion(ctx, p)
		if err != nil && p.Name() != parachute {
			fmt.Fprintf(out, "Without %s: %v\n", p.Name(), err)
			report.Missing = append(report.Missing, p.Name())
			continue
		} else if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "With %s: %s\n", p.Name(), version)
		report.Peers = append(report.Peers, PeerInfo{p.Name(), version})
		peers = append(peers, p)
	}
	return peers, nil
}

// builder is a peer that the benchmark builds.
type builder interface {
	Build(ctx context.Context) error
}

// versionTimeout bounds how long a proxy may take to say its version.
const versionTimeout = 30 * time.Second

func askVersion(ctx context.Context, p peer.Peer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	return p.Version(ctx)
}

// write writes the report wherever the options say.
func (r *Report) write(o Options, out io.Writer) error {
	err := r.writeText(out)
	if o.JSON != "" {
		err = errors.Join(err, r.writeJSON(o.JSON))
	}
	if o.Markdown != "" {
		err = errors.Join(err, r.writeMarkdown(o.Markdown))
	}
	return err
}
