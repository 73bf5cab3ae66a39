package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"

	"github.com/parachute-proxy/parachute/bench/internal/process"
	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// Parachute is `parachute run`.
type Parachute struct {
	Label  string // name in tables
	Binary string // path
	Flags  string // more flags of run, with spaces between them
}

// Name implements Peer.
func (p Parachute) Name() string { return p.Label }

// Deploys implements Peer.
func (Parachute) Deploys() bool { return true }

// Version implements Peer.
func (p Parachute) Version(ctx context.Context) (string, error) {
	out, err := p.command(ctx, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s: %w\n%s", p.Binary, err, out)
	}
	// parachute v1.2.3, Caddy v2.11.9, go1.26.8
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "parachute "), nil
}

// command returns a command of the binary, whatever the file is called: the name
// decides whether it is parachute or Caddy.
func (p Parachute) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Binary, args...)
	cmd.Args[0] = "parachute"
	return cmd
}

// Start implements Peer. Flags, readiness and API are the rig's; the process is started
// as those of all peers are, since it has to stay on its cores.
func (p Parachute) Start(ctx context.Context, s Setup) (*Proxy, error) {
	r := &rig.Proxy{Dir: s.Dir}
	var err error
	if r.HTTPPort, err = rig.FreePort(); err != nil {
		return nil, err
	}
	r.Args = strings.Fields(p.Flags)
	if s.AccessLog {
		r.Args = append(r.Args, "--access-log")
	}
	if s.Certificate != nil {
		if r.HTTPSPort, err = rig.FreePort(); err != nil {
			return nil, err
		}
		config, err := json.Marshal(rig.CertificateConfig(s.Certificate.CertFile, s.Certificate.KeyFile))
		if err != nil {
			return nil, err
		}
		file, err := writeFile(s, "config.json", string(config))
		if err != nil {
			return nil, err
		}
		r.Args = append(r.Args, "--config", file)
	}
	proc, err := start(s, process.Options{Path: p.Binary, Args: append([]string{"parachute", "run"}, r.RunArgs()...)})
	if err != nil {
		return nil, err
	}
	proxy := &Proxy{Process: proc, Peer: p, Addr: r.Addr(), TLSAddr: r.HTTPSAddr(), AccessLog: logFile(s)}
	err = proc.Wait(startTimeout, func() error {
		if !r.Answers() {
			return errors.New("it does not answer")
		}
		return nil
	})
	if err == nil {
		d := parachuteAPI{http: r.HTTP(), directives: s.Directives}
		if d.client, err = r.API(); err == nil {
			proxy.Deployer = d
			err = d.Deploy(ctx, Deployment{Service: Service, Host: Host, Target: s.Upstream})
		}
	}
	if err != nil {
		proc.Stop()
		return nil, err
	}
	return proxy, nil
}

// parachuteAPI is parachute's JSON API, docs/API.md.
type parachuteAPI struct {
	client *client.Client
	http   *http.Client
	// directives are those of every deploy.
	directives string
}

// Deploy implements Deployer.
func (a parachuteAPI) Deploy(ctx context.Context, d Deployment) error {
	req := api.DeployRequest{Hosts: []string{d.Host}, Targets: []string{d.Target}, Force: d.Force, With: a.directives}
	var status api.DeploymentStatus
	return a.client.Call(ctx, http.MethodPost, api.DeployPath(d.Service), req, &status)
}

// List implements Deployer. It does not decode the list, so that what is measured is
// what the proxy does.
func (a parachuteAPI) List(ctx context.Context) error {
	_, err := a.get(ctx, api.PathServices)
	return err
}

// Profile implements Profiler. The profile is Caddy's, not the API's.
func (a parachuteAPI) Profile(ctx context.Context, seconds int) ([]byte, error) {
	return a.get(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
}

func (a parachuteAPI) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.1000s", path, resp.Status, answer)
	}
	return answer, err
}
