package peer

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/parachute-proxy/parachute/bench/internal/process"
	"github.com/parachute-proxy/parachute/integration/rig"
)

// Nginx is nginx with one worker process. The worker outlives its master if that is
// killed without a word, so `kill -9` of the benchmark can leave it behind.
type Nginx struct{}

// Name implements Peer.
func (Nginx) Name() string { return "nginx" }

// Deploys implements Peer.
func (Nginx) Deploys() bool { return false }

// Version implements Peer.
func (Nginx) Version(ctx context.Context) (string, error) {
	path, err := rig.LookPath("nginx")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running nginx: %w\n%s", err, out)
	}
	// nginx version: nginx/1.22.1
	_, version, _ := strings.Cut(strings.TrimSpace(string(out)), "nginx/")
	return version, nil
}

// Start implements Peer.
func (n Nginx) Start(_ context.Context, s Setup) (*Proxy, error) {
	addr, _, err := freeAddr()
	if err != nil {
		return nil, err
	}
	tlsAddr, _, err := freeAddr()
	if err != nil {
		return nil, err
	}
	config, err := writeFile(s, "nginx.conf", NginxConf(s, addr, tlsAddr))
	if err != nil {
		return nil, err
	}
	proc, err := start(s, process.Options{Args: []string{"nginx", "-p", s.Dir, "-c", config, "-e", "stderr", "-g", "daemon off;"}})
	if err != nil {
		return nil, err
	}
	if err := proc.Wait(startTimeout, func() error { return listening(addr) }); err != nil {
		proc.Stop()
		return nil, err
	}
	return &Proxy{Process: proc, Peer: n, Addr: addr, TLSAddr: tlsAddr, AccessLog: accessLog(s)}, nil
}

// NginxConf is what the manual recommends for keep-alive to an upstream and for
// WebSockets. Bodies stream in both directions without touching a disk, as they
// do with all the others. By default nginx closes a connection after 1,000
// requests, which a fast client reaches ten times a second.
func NginxConf(s Setup, addr, tlsAddr string) string {
	access := "off"
	if s.AccessLog {
		access = accessLog(s)
	}
	listen := "listen " + addr + " backlog=4096;"
	if s.Certificate != nil {
		listen += fmt.Sprintf("\n\t\tlisten %s ssl http2;\n\t\tssl_certificate %s;\n\t\tssl_certificate_key %s;",
			tlsAddr, s.Certificate.CertFile, s.Certificate.KeyFile)
	}
	return fmt.Sprintf(`worker_processes 1;
worker_rlimit_nofile 10000;
pid nginx.pid;
error_log stderr crit;
events {
	worker_connections 8192;
}
http {
	access_log %s;
	client_body_temp_path tmp-body;
	proxy_temp_path tmp-proxy;
	fastcgi_temp_path tmp-fastcgi;
	uwsgi_temp_path tmp-uwsgi;
	scgi_temp_path tmp-scgi;
	client_max_body_size 0;
	keepalive_requests 1000000000;
	map $http_upgrade $connection_upgrade {
		default upgrade;
		'' '';
	}
	upstream app {
		server %s;
		keepalive 1024;
		keepalive_requests 1000000000;
	}
	server {
		%s
		server_name %s;
		location / {
			proxy_pass http://app;
			proxy_http_version 1.1;
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Host $host;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Request-Id $request_id;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
			proxy_max_temp_file_size 0;
			proxy_request_buffering off;
		}
	}
}
`, access, s.Upstream, listen, Host)
}
