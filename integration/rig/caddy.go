package rig

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// WriteCaddyfile makes p an ordinary Caddy that serves the given sites, or
// replaces the sites of one that is running, for a reload to come. A site with
// the address http:// is on HTTPPort.
func (p *Proxy) WriteCaddyfile(sites string) error {
	p.Caddyfile = filepath.Join(p.Dir, "Caddyfile")
	admin, bind, front := p.Admin(), "127.0.0.1", ""
	if p.Front {
		admin, bind = "unix+parachute-admin/"+p.socket(), "parachute/127.0.0.1"
		front = "\tservers {\n\t\tlistener_wrappers {\n\t\t\tparachute_front\n\t\t}\n\t}\n"
	}
	return os.WriteFile(p.Caddyfile, fmt.Appendf(nil, `{
	admin %s
	storage file_system %s
	default_bind %s
	http_port %d
	https_port %d
%s}
%s
`, admin, filepath.Join(p.Dir, "storage"), bind, p.HTTPPort, p.HTTPSPort, front, sites), 0o600)
}

// Caddy runs a command of Caddy's, such as reload, with p's Caddyfile.
func (p *Proxy) Caddy(name string) (Result, error) { return p.Run(p.caddyCommand(name)...) }

// Reload loads the Caddyfile again, as `caddy reload` does.
func (p *Proxy) Reload() error {
	file, err := os.Open(p.Caddyfile)
	if err != nil {
		return err
	}
	defer file.Close()
	resp, err := p.HTTP().Post("http://localhost/load", "text/caddyfile", file)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("reloading: %s: %s", resp.Status, answer)
	}
	return nil
}

func (p *Proxy) caddyCommand(name string) []string {
	return []string{"caddy", name, "--config", p.Caddyfile, "--adapter", "caddyfile"}
}

// caddyAnswers reports whether the config is loaded. Caddy answers questions
// about it only while it is loading none.
func (p *Proxy) caddyAnswers() bool {
	resp, err := p.HTTP().Get("http://localhost/config/")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var config map[string]any
	return json.NewDecoder(resp.Body).Decode(&config) == nil && config != nil
}
