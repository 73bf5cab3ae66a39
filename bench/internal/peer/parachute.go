package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/parachute-proxy/parachute/bench/internal/process"
)

// Parachute is `parachute run`.
type Parachute struct {
	Label  string // name in tables
	Binary string // path
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

// Start implements Peer.
func (p Parachute) Start(ctx context.Context, s Setup) (*Proxy, error) {
	addr, port, err := freeAddr()
	if err != nil {
		return nil, err
	}
	tlsAddr, tlsPort, err := freeAddr()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(s.Dir, "admin.sock")
	args := []string{
		"parachute", "run", "--bind", "127.0.0.1", "--http-port", port, "--https-port", "0",
		"--storage", filepath.Join(s.Dir, "storage"), "--admin", "unix/" + socket,
	}
	if s.AccessLog {
		args = append(args, "--access-log")
	}
	if s.Certificate != nil {
		config, err := certificateConfig(s)
		if err != nil {
			return nil, err
		}
		args = append(args, "--https-port", tlsPort, "--config", config)
	}
	proc, err := start(s, process.Options{Path: p.Binary, Args: args})
	if err != nil {
		return nil, err
	}
	proxy := &Proxy{Process: proc, Peer: p, Addr: addr, TLSAddr: tlsAddr, AccessLog: logFile(s), Deployer: newParachuteAPI(socket)}
	err = proc.Wait(startTimeout, func() error {
		if err := proxy.Deployer.List(ctx); err != nil {
			return err
		}
		if s.Certificate != nil {
			return listening(addr, tlsAddr)
		}
		return listening(addr)
	})
	if err == nil {
		err = proxy.Deployer.Deploy(ctx, Deployment{Service: Service, Host: Host, Target: s.Upstream})
	}
	if err != nil {
		proc.Stop()
		return nil, err
	}
	return proxy, nil
}

// certificateConfig writes a configuration that brings the certificate: parachute
// has no option for one so far.
func certificateConfig(s Setup) (path string, err error) {
	config, err := json.Marshal(map[string]any{"apps": map[string]any{"tls": map[string]any{"certificates": map[string]any{
		"load_files": []any{map[string]any{"certificate": s.Certificate.CertFile, "key": s.Certificate.KeyFile}},
	}}}})
	if err != nil {
		return "", err
	}
	return writeFile(s, "config.json", string(config))
}

// parachuteAPI is parachute's JSON API, docs/API.md.
type parachuteAPI struct{ client *http.Client }

func newParachuteAPI(socket string) parachuteAPI {
	return parachuteAPI{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 64,
	}}}
}

// Deploy implements Deployer.
func (a parachuteAPI) Deploy(ctx context.Context, d Deployment) error {
	path := "/parachute/services/" + url.PathEscape(d.Service) + "/deployments"
	_, err := a.call(ctx, http.MethodPost, path, map[string]any{
		"hosts": []string{d.Host}, "targets": []string{d.Target}, "force": d.Force,
	})
	return err
}

// List implements Deployer.
func (a parachuteAPI) List(ctx context.Context) error {
	_, err := a.call(ctx, http.MethodGet, "/parachute/services", nil)
	return err
}

// Profile implements Profiler. The profile is Caddy's, not the API's.
func (a parachuteAPI) Profile(ctx context.Context, seconds int) ([]byte, error) {
	return a.call(ctx, http.MethodGet, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), nil)
}

// call makes a call and returns the answer.
func (a parachuteAPI) call(ctx context.Context, method, path string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: reading the answer: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, nil
}
