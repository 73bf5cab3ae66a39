package peer

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/parachute-proxy/parachute/bench/internal/process"
	"github.com/parachute-proxy/parachute/integration/rig"
)

// HAProxy is HAProxy with one thread.
type HAProxy struct{}

// Name implements Peer.
func (HAProxy) Name() string { return "haproxy" }

// Deploys implements Peer.
func (HAProxy) Deploys() bool { return false }

// Version implements Peer.
func (HAProxy) Version(ctx context.Context) (string, error) {
	path, err := rig.LookPath("haproxy")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running haproxy: %w\n%s", err, out)
	}
	// HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/
	if fields := strings.Fields(string(out)); len(fields) > 2 {
		return fields[2], nil
	}
	return strings.TrimSpace(string(out)), nil
}

// Start implements Peer.
func (h HAProxy) Start(_ context.Context, s Setup) (*Proxy, error) {
	addr, _, err := freeAddr()
	if err != nil {
		return nil, err
	}
	tlsAddr, _, err := freeAddr()
	if err != nil {
		return nil, err
	}
	config, err := writeFile(s, "haproxy.cfg", HAProxyConf(s, addr, tlsAddr))
	if err != nil {
		return nil, err
	}
	proc, err := start(s, process.Options{Args: []string{"haproxy", "-db", "-f", config}})
	if err != nil {
		return nil, err
	}
	if err := proc.Wait(startTimeout, func() error { return listening(addr) }); err != nil {
		proc.Stop()
		return nil, err
	}
	return &Proxy{Process: proc, Peer: h, Addr: addr, TLSAddr: tlsAddr, AccessLog: logFile(s)}, nil
}

// HAProxyConf lets any request use any idle connection to the upstream
// (http-reuse always), as all the others do.
func HAProxyConf(s Setup, addr, tlsAddr string) string {
	log := ""
	if s.AccessLog {
		// Standard output is a file.
		log = "\tlog stdout format raw local0\n\toption httplog\n"
	}
	bind := "\tbind " + addr + " backlog 4096\n"
	if s.Certificate != nil {
		bind += fmt.Sprintf("\tbind %s ssl crt %s alpn h2,http/1.1\n", tlsAddr, s.Certificate.Bundle)
	}
	return fmt.Sprintf(`global
	maxconn 4096
	nbthread 1
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	timeout tunnel 1h
	option http-keep-alive
	http-reuse always
%sfrontend http
%s	http-request set-header X-Forwarded-For %%[src]
	http-request set-header X-Forwarded-Host %%[req.hdr(host)]
	http-request set-header X-Forwarded-Proto %%[ssl_fc,iif(https,http)]
	http-request set-header X-Request-Id %%[uuid]
	acl ours hdr(host) -i %s
	use_backend app if ours
backend app
	server app %s
`, log, bind, Host, s.Upstream)
}
