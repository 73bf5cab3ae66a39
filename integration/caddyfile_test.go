package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// startCaddy starts an ordinary Caddy with the given sites, the way that those
// run it who have other sites too. A site with the address http:// is on its HTTP
// port.
func startCaddy(t *testing.T, sites string) *rig.Proxy {
	t.Helper()
	p := newProxy(t)
	must(t, p.WriteCaddyfile(sites))
	must(t, p.Start())
	return p
}

// TestCaddyfileExampleServes runs Caddyfile.example as it is, but for its ports
// and certificates, and does what its comments say.
func TestCaddyfileExampleServes(t *testing.T) {
	p := newProxy(t)
	writeExample(t, p)
	runCaddy(t, p, "validate") // which adapts it first
	must(t, p.Start())
	for _, host := range []string{"www.example.com", "app1.example.com", "app2.example.com", "api.example.com", "old.example.com"} {
		waitFor(t, "the certificate of "+host, func() bool {
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.HTTPSPort), &tls.Config{ServerName: host, InsecureSkipVerify: true})
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}

	// Before anything is deployed, each site says so in its own way.
	site(t, p, "www.example.com", "/", 200, "a plain site")
	site(t, p, "app1.example.com", "/", 404, "parachute: no service is deployed for this host and path (404)")
	site(t, p, "api.example.com", "/v1/", 503, "There is no API yet.")
	site(t, p, "old.example.com", "/", 503, "")

	caddy := commandNamed(t, "caddy")
	app1, app2, api := startApp(t, "app1", nil), startApp(t, "app2", nil), startApp(t, "api", nil)
	for _, words := range [][]string{
		{caddy, "parachute", "deploy", app1.addr(), "--service", "app1", "--host", "app1.example.com"},
		{caddy, "parachute", "deploy", app2.addr(), "--service", "app2", "--host", "app2.example.com", "--admin", p.Admin()},
		{commandNamed(t, "parachute"), "deploy", api.addr(), "--service", "api", "--host", "api.example.com", "--admin", p.Admin()},
	} {
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Env = append(p.Environ(), "PARACHUTE_ADMIN="+p.Admin())
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "v1 is live") {
			t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
		}
	}
	site(t, p, "www.example.com", "/", 200, "a plain site")
	site(t, p, "app1.example.com", "/", 200, "app1")
	site(t, p, "app2.example.com", "/", 200, "app2")
	site(t, p, "api.example.com", "/v1/things", 200, "api")
	site(t, p, "api.example.com", "/v2/things", 503, "There is no API yet.")
	site(t, p, "old.example.com", "/", 200, "app1")

	// A deploy reaches the directive and reverse_proxy alike.
	next := startApp(t, "next", nil)
	req := requestFor("app1.example.com", next)
	req.Service = "app1"
	deploy(t, p, req)
	site(t, p, "app1.example.com", "/", 200, "next")
	site(t, p, "old.example.com", "/", 200, "next")

	runCaddy(t, p, "reload")
	settle(t, p)
	if n := len(services(t, p)); n != 3 {
		t.Errorf("after a reload there are %d services", n)
	}
}

// runCaddy runs a command of Caddy's with p's Caddyfile.
func runCaddy(t *testing.T, p *rig.Proxy, command string) {
	t.Helper()
	if r, err := p.Caddy(command); err != nil || r.Code != 0 {
		t.Fatalf("caddy %s ended with %d (%v): %s", command, r.Code, err, r.Stderr)
	}
}

// writeExample makes p run Caddyfile.example on p's ports, with certificates that
// no one has to be asked for, and with a page for its plain site.
func writeExample(t *testing.T, p *rig.Proxy) {
	t.Helper()
	www := filepath.Join(p.Dir, "www")
	must(t, os.Mkdir(www, 0o700))
	must(t, os.WriteFile(filepath.Join(www, "index.html"), []byte("a plain site"), 0o600))

	example, err := os.ReadFile("../Caddyfile.example")
	must(t, err)
	options := fmt.Sprintf("\n{\n\tadmin %s\n\tstorage file_system %s\n\tdefault_bind 127.0.0.1\n\thttp_port %d\n\thttps_port %d\n\tlocal_certs\n\tskip_install_trust\n",
		p.Admin(), filepath.Join(p.Dir, "storage"), p.HTTPPort, p.HTTPSPort)
	text := bytes.Replace(example, []byte("\n{\n"), []byte(options), 1)
	text = bytes.Replace(text, []byte("/srv/www"), []byte(www), 1)
	p.Caddyfile = filepath.Join(p.Dir, "Caddyfile")
	must(t, os.WriteFile(p.Caddyfile, text, 0o600))
}

// commandNamed returns the path of the binary under another name.
func commandNamed(t *testing.T, name string) string {
	t.Helper()
	bin, err := rig.ParachuteBinary()
	must(t, err)
	link := filepath.Join(t.TempDir(), name)
	must(t, os.Symlink(bin, link))
	return link
}

// site asks a site over HTTPS and compares the answer.
func site(t *testing.T, p *rig.Proxy, host, path string, status int, body string) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.HTTPSPort))
		},
		DisableKeepAlives: true,
	}}
	resp, err := client.Get("https://" + host + path)
	must(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != status || strings.TrimSpace(string(got)) != body {
		t.Errorf("%s%s answered %d %q instead of %d %q", host, path, resp.StatusCode, got, status, body)
	}
}
