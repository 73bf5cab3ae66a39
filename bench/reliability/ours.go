package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// parachute is `parachute run`.
type parachute struct {
	setup  peer.Setup
	binary string
	proxy  *rig.Proxy
}

func (*parachute) name() string { return "parachute" }

func (*parachute) http3() bool { return true }

func (p *parachute) askVersion(ctx context.Context) (string, error) {
	return peer.Parachute{Binary: p.binary}.Version(ctx)
}

func (p *parachute) start(ctx context.Context) (plain, secure string, err error) {
	// Old processes are to end between the upgrades: there are three at most.
	if p.proxy, err = rig.NewProxy("--linger", "5s"); err != nil {
		return "", "", err
	}
	p.proxy.Program = p.binary
	config, err := json.Marshal(rig.CertificateConfig(p.setup.Certificate.CertFile, p.setup.Certificate.KeyFile))
	if err != nil {
		return "", "", err
	}
	file := filepath.Join(p.proxy.Dir, "config.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return "", "", err
	}
	p.proxy.Args = append(p.proxy.Args, "--config", file)
	if err := p.proxy.Start(); err != nil {
		return "", "", err
	}
	client, err := p.proxy.API()
	if err != nil {
		return "", "", err
	}
	req := api.DeployRequest{Hosts: []string{peer.Host}, Targets: []string{p.setup.Upstream}}
	err = client.Call(ctx, http.MethodPost, api.DeployPath(peer.Service), req, new(api.DeploymentStatus))
	return p.proxy.Addr(), p.proxy.HTTPSAddr(), err
}

func (p *parachute) change(c change) func(context.Context) error {
	return map[change]func(context.Context) error{
		reload:  func(context.Context) error { return p.proxy.ReloadConfig(patience) },
		upgrade: p.upgrade,
		restart: func(context.Context) error {
			if _, err := p.proxy.Stop(patience); err != nil {
				return err
			}
			return p.proxy.Start()
		},
	}[c]
}

func (p *parachute) upgrade(ctx context.Context) error {
	if _, err := p.proxy.Upgrade(); err != nil {
		return err
	}
	return until(ctx, func() error {
		all, err := p.proxy.Processes()
		if err == nil && len(all) > 3 {
			err = fmt.Errorf("%d processes", len(all))
		}
		return err
	})
}

func (p *parachute) stop() { _ = p.proxy.End(patience) }

// caddy is Caddy's reverse_proxy, in the binary that parachute is.
type caddy struct {
	setup  peer.Setup
	binary string
	proxy  *rig.Proxy
}

func (*caddy) name() string { return "Caddy" }

func (*caddy) http3() bool { return true }

func (c *caddy) askVersion(ctx context.Context) (string, error) {
	return peer.Caddy{Binary: c.binary}.Version(ctx)
}

func (c *caddy) start(context.Context) (plain, secure string, err error) {
	if c.proxy, err = rig.NewProxy(); err != nil {
		return "", "", err
	}
	c.proxy.Program = c.binary
	if err := c.write(); err != nil {
		return "", "", err
	}
	return c.proxy.Addr(), c.proxy.HTTPSAddr(), c.proxy.Start()
}

// write writes the sites. Caddy does not reload a config that has not changed.
func (c *caddy) write() error {
	site := fmt.Sprintf("\theader X-Config %d\n\treverse_proxy %s\n", time.Now().UnixNano(), c.setup.Upstream)
	return c.proxy.WriteCaddyfile(fmt.Sprintf("http://%s {\n%s}\nhttps://%s {\n\ttls %s %s\n%s}\n",
		peer.Host, site, peer.Host, c.setup.Certificate.CertFile, c.setup.Certificate.KeyFile, site))
}

func (c *caddy) change(which change) func(context.Context) error {
	return map[change]func(context.Context) error{
		reload: func(context.Context) error {
			if err := c.write(); err != nil {
				return err
			}
			return c.proxy.Reload()
		},
		restart: func(context.Context) error {
			_, _ = c.proxy.Stop(caddyPatience) // which kills it then
			return c.proxy.Start()
		},
	}[which]
}

// caddyPatience is how long Caddy has to end by itself: what its own unit for systemd has.
const caddyPatience = 5 * time.Second

func (c *caddy) stop() { _ = c.proxy.End(caddyPatience) }
