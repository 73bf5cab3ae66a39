package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// scenarioTimeout bounds one scenario, with all its proxies and rounds.
const scenarioTimeout = 20 * time.Minute

// runner takes the samples of scenarios.
type runner struct {
	env    *Environment
	peers  []peer.Peer
	random *rand.Rand // shuffles the peers of every round
	out    io.Writer  // says how far it is
}

// compare runs a scenario with all peers.
func (r *runner) compare(ctx context.Context, s *Scenario) (*Comparison, error) {
	ctx, cancel := context.WithTimeout(ctx, scenarioTimeout)
	defer cancel()
	c := newComparison(s)
	var peers []peer.Peer
	for _, p := range r.peers {
		if (p.Deploys() || !s.DeployOnly) && (s.Directives == "" || slices.Contains(withDirectives, p.Name())) && (s.Floored || p.Name() != floor) {
			peers = append(peers, p)
		}
	}
	began := time.Now()
	fmt.Fprintf(r.out, "%-16s %-52s ", s.Name, s.Title)
	var err error
	switch s.Isolation {
	case SideBySide:
		err = r.rounds(ctx, c, peers, r.env.Rounds)
	case Alone:
		err = r.alone(ctx, c, peers)
	case Fresh:
		err = r.fresh(ctx, c, peers)
	}
	fmt.Fprintf(r.out, " %.0fs\n", time.Since(began).Seconds())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return c, nil
}

// withDirectives are the proxies that know directives of a Caddyfile.
var withDirectives = []string{parachute, "caddy"}

func (r *runner) alone(ctx context.Context, c *Comparison, peers []peer.Peer) error {
	for i, p := range peers {
		err := r.rounds(ctx, c, peers[i:i+1], r.env.Rounds)
		if errors.Is(err, errTooSlow) {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: %v", p.Name(), err))
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) fresh(ctx context.Context, c *Comparison, peers []peer.Peer) error {
	for range r.env.Rounds {
		for _, i := range r.random.Perm(len(peers)) {
			if err := r.rounds(ctx, c, peers[i:i+1], 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// rounds starts proxies and takes n samples of each.
func (r *runner) rounds(ctx context.Context, c *Comparison, peers []peer.Peer, n int) error {
	s := c.Scenario
	var proxies []*peer.Proxy
	defer func() {
		for _, p := range proxies {
			p.Stop()
		}
	}()
	for _, one := range peers {
		p, err := r.env.start(ctx, one, s)
		if err != nil {
			return fmt.Errorf("starting %s: %w", one.Name(), err)
		}
		proxies = append(proxies, p)
	}
	if s.Prepare != nil {
		note, err := s.Prepare(ctx, r.env, proxies)
		if err != nil {
			return err
		}
		if note != "" {
			c.Notes = append(c.Notes, note)
		}
	}
	if s.Isolation != Fresh && r.env.WarmUp > 0 {
		short := *r.env
		short.Duration = r.env.WarmUp
		for _, p := range proxies {
			if _, err := r.measure(ctx, &short, s, p); err != nil {
				return err
			}
		}
	}
	for range n {
		for _, i := range r.random.Perm(len(proxies)) {
			sample, err := r.measure(ctx, r.env, s, proxies[i])
			if err != nil {
				return err
			}
			c.add(peers[i].Name(), sample)
			fmt.Fprint(r.out, ".")
		}
	}
	for i, p := range proxies {
		if peers[i].Name() == parachute && r.env.Profiles != "" && s.Isolation != Fresh {
			if err := r.profile(ctx, s, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure takes a sample. Its error has the end of what the proxy has logged.
func (r *runner) measure(ctx context.Context, e *Environment, s *Scenario, p *peer.Proxy) (Sample, error) {
	sample, err := s.Measure(ctx, e, p)
	if ctx.Err() != nil {
		return sample, ctx.Err() // the benchmark has been interrupted, and the proxy is fine
	}
	if err != nil {
		return sample, fmt.Errorf("measuring %s: %w\n%s", p.Peer.Name(), err, p.Log())
	}
	return sample, nil
}
