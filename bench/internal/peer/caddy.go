package peer

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/parachute-proxy/parachute/bench/internal/process"
)

// Caddy is Caddy's reverse_proxy, in the binary that parachute is: the same Caddy,
// built the same way.
type Caddy struct {
	Binary string // path of a parachute binary
}

// Name implements Peer.
func (c Caddy) Name() string { return "caddy" }

// Deploys implements Peer.
func (Caddy) Deploys() bool { return false }

// Version implements Peer.
func (c Caddy) Version(ctx context.Context) (string, error) {
	out, err := Parachute{Binary: c.Binary}.command(ctx, "caddy", "version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s: %w\n%s", c.Binary, err, out)
	}
	version, _, _ := bytes.Cut(out, []byte(" "))
	return string(bytes.TrimSpace(version)), nil
}

// Start implements Peer.
func (c Caddy) Start(_ context.Context, s Setup) (*Proxy, error) {
	addr, port, err := freeAddr()
	if err != nil {
		return nil, err
	}
	tlsAddr, tlsPort, err := freeAddr()
	if err != nil {
		return nil, err
	}
	config, err := writeFile(s, "Caddyfile", caddyfile(s, port, tlsPort))
	if err != nil {
		return nil, err
	}
	proc, err := start(s, process.Options{
		Path: c.Binary, Args: []string{"parachute", "caddy", "run", "--adapter", "caddyfile", "--config", config},
	})
	if err != nil {
		return nil, err
	}
	addrs := []string{addr}
	if s.Certificate != nil {
		addrs = append(addrs, tlsAddr)
	}
	if err := proc.Wait(startTimeout, func() error { return listening(addrs...) }); err != nil {
		proc.Stop()
		return nil, err
	}
	return &Proxy{Process: proc, Peer: c, Addr: addr, TLSAddr: tlsAddr, AccessLog: accessLog(s)}, nil
}

func caddyfile(s Setup, port, tlsPort string) string {
	site := ""
	if s.AccessLog {
		site = fmt.Sprintf("\tlog {\n\t\toutput file %s\n\t}\n", accessLog(s))
	}
	for line := range strings.Lines(s.Directives) {
		site += "\t" + line
	}
	// By default Caddy keeps 32 idle connections to an upstream. With more requests
	// at a time than that it would open connections all the time, which is not what
	// is compared here.
	site += fmt.Sprintf("\treverse_proxy %s {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 1024\n\t\t}\n\t}\n", s.Upstream)

	var b strings.Builder
	fmt.Fprintf(&b, "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tdefault_bind 127.0.0.1\n\thttp_port %s\n\thttps_port %s\n}\n", port, tlsPort)
	fmt.Fprintf(&b, "http://%s {\n%s}\n", Host, site)
	if s.Certificate != nil {
		fmt.Fprintf(&b, "https://%s {\n\ttls %s %s\n%s}\n", Host, s.Certificate.CertFile, s.Certificate.KeyFile, site)
	}
	return b.String()
}
