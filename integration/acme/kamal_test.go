package acme

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// kamalDeploy has the fields of kamal-proxy's server.DeployArgs that have to be set. Its command line
// knows two authorities only. Package gob matches fields by their names.
type kamalDeploy struct {
	Service           string
	TargetURLs        []string
	DeploymentOptions struct{ DeployTimeout, DrainTimeout time.Duration }
	ServiceOptions    struct {
		Hosts, PathPrefixes          []string
		StripPrefix                  bool
		TLSEnabled, TLSRedirect      bool
		ACMEDirectory, ACMECachePath string
	}
	TargetOptions struct {
		HealthCheckConfig struct {
			Path              string
			Interval, Timeout time.Duration
		}
		ResponseTimeout time.Duration
	}
}

// TestParachuteTakesThePlaceOfKamalProxy on the same directory, or volume: with the same answers of three
// services, the same certificate, and no new order.
func TestParachuteTakesThePlaceOfKamalProxy(t *testing.T) {
	t.Parallel()
	t.Run("as a process", func(t *testing.T) {
		t.Parallel()
		home := kamalHome(t)
		binary, err := rig.ParachuteBinary()
		must(t, err)
		ours := filepath.Join(home, "kamal-proxy")
		must(t, os.Symlink(binary, ours))
		env := append(os.Environ(), "HOME="+home)
		takeKamalProxysPlace(t, home, home, func(program string, settings []string) kamalProxy {
			if program == "" {
				program = ours
			}
			return &kamalProcess{t: t, program: program, env: append(env, settings...)}
		})
	})
	t.Run("as a container", func(t *testing.T) {
		t.Parallel()
		home := kamalHome(t)
		volume := kamalVolume(t)
		takeKamalProxysPlace(t, home, "/home/kamal-proxy", func(program string, settings []string) kamalProxy {
			return &kamalContainer{t: t, program: program, shared: home, volume: volume, env: settings}
		})
	})
}

// kamalHome returns a directory whose path is short enough for a socket, and that every user may write
// to: kamal-proxy has a user of its own in a container.
func kamalHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kamal-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o777))
	return dir
}

// takeKamalProxysPlace has a kamal-proxy serve, and then parachute. shared is a directory of this machine's
// that both reach, and home is their own one, as they see it. server returns one that is not started:
// a program, or parachute if that is "".
func takeKamalProxysPlace(t *testing.T, shared, home string, server func(program string, settings []string) kamalProxy) {
	httpPort, err := rig.FreePort()
	must(t, err)
	httpsPort, err := rig.FreePort()
	must(t, err)
	ca, err := startAuthority(authorityOptions{lifetime: 90 * 24 * time.Hour}, shared, httpPort, httpsPort)
	must(t, err)
	t.Cleanup(ca.close)
	must(t, os.Chmod(ca.rootFile, 0o644))
	settings := append(rig.EdgeEnviron(),
		"XDG_RUNTIME_DIR="+shared, "SSL_CERT_FILE="+ca.rootFile,
		fmt.Sprintf("HTTP_PORT=%d", httpPort), fmt.Sprintf("HTTPS_PORT=%d", httpsPort),
		"PARACHUTE_ADMIN=unix/"+shared+"/admin.sock", "PARACHUTE_ACME_CA="+ca.url, "PARACHUTE_ACME_CA_ROOT="+ca.rootFile,
	)
	a, other := startApp(t, named("one")), startApp(t, named("two"))

	program := filepath.Join(shared, "theirs")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/basecamp/kamal-proxy/cmd/kamal-proxy")
	build.Dir, build.Env = "../../bench/kamal-proxy", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building kamal-proxy: %v\n%s", err, out)
	}
	theirs := server(program, settings)
	theirs.start()
	t.Log("kamal-proxy is", theirs)
	host := "kamal." + domain
	deploy := kamalDeploy{Service: "web", TargetURLs: []string{a.addr()}}
	deploy.DeploymentOptions.DeployTimeout, deploy.DeploymentOptions.DrainTimeout = 10*time.Second, time.Second
	o := &deploy.ServiceOptions
	o.Hosts, o.PathPrefixes, o.StripPrefix, o.TLSEnabled, o.TLSRedirect = []string{host}, []string{"/"}, true, true, true
	o.ACMEDirectory, o.ACMECachePath = ca.url, filepath.Join(home, ".config", "kamal-proxy", "certs")
	check := &deploy.TargetOptions.HealthCheckConfig
	check.Path, check.Interval, check.Timeout = "/up", time.Second, time.Second
	deploy.TargetOptions.ResponseTimeout = 10 * time.Second
	client, err := rpc.Dial("unix", filepath.Join(shared, "kamal-proxy.sock"))
	must(t, err)
	defer client.Close()
	var done bool
	must(t, client.Call("kamal-proxy.Deploy", deploy, &done))
	serial := func() string {
		var found string
		waitFor(t, "a certificate", func() bool {
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: rigtest.Patience}, "tcp", fmt.Sprintf("127.0.0.1:%d", httpsPort), &tls.Config{ServerName: host, RootCAs: ca.roots})
			if err != nil {
				return false
			}
			defer conn.Close()
			found = conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
			return true
		})
		return found
	}
	before := serial()
	for _, line := range []string{
		"deploy down --target=" + a.addr() + " --host=down.test", "stop down --message=Later",
		"deploy rolled --target=" + a.addr() + " --host=rolled.test", "rollout deploy rolled --target=" + other.addr(), "rollout set rolled --percent=0 --list=vip",
	} {
		if r := theirs.run(strings.Fields(line)...); r.Code != 0 {
			t.Fatalf("%s: %+v", line, r)
		}
	}
	answers := func() {
		t.Helper()
		for _, c := range []struct {
			host, cookie string
			status       int
			text         string
		}{
			{"down.test", "", http.StatusServiceUnavailable, "Later"},
			{"rolled.test", "", http.StatusOK, "one"},
			{"rolled.test", "kamal-rollout=vip", http.StatusOK, "two"},
			{host, "", http.StatusMovedPermanently, ""},
		} {
			req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/x", httpPort), nil)
			must(t, err)
			req.Host, req.Header = c.host, http.Header{"Cookie": {c.cookie}}
			resp, err := http.DefaultTransport.RoundTrip(req)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.text) {
				t.Errorf("%+v: %s %q", c, resp.Status, body)
			}
		}
	}
	answers()
	theirs.stop()
	orders := ca.ordersFor(host)

	ours := server("", settings)
	ours.start()
	answers()
	if after := serial(); after != before {
		t.Errorf("the certificate was %s, and is %s", before, after)
	}
	if now := ca.ordersFor(host); now != orders || orders == 0 {
		t.Errorf("there were %d orders, and now there are %d", orders, now)
	}
	if log := ours.output(); !strings.Contains(log, "certificate of "+host+", valid until") || !strings.Contains(log, "the account at "+ca.url) {
		t.Error("the log does not tell what was taken over")
	}
	t.Logf("parachute is %s; the serial number of the certificate is %s, and %d order was made", ours, before, orders)
	ours.stop()
}
