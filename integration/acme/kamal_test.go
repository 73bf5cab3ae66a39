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
	"syscall"
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

// kamalServer is a program that runs as kamal-proxy.
type kamalServer struct {
	t       *testing.T
	program string
	env     []string
	cmd     *exec.Cmd
	log     rig.LockedBuffer
}

func (s *kamalServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.program, "run")
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, &s.log, &s.log
	must(s.t, s.cmd.Start())
	s.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended by then, if all is well
		if s.t.Failed() {
			s.t.Log(s.log.String())
		}
	})
	waitFor(s.t, "the proxy", func() bool { return s.run("list").Code == 0 })
}

func (s *kamalServer) stop() {
	must(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	_ = s.cmd.Wait()
}

func (s *kamalServer) run(args ...string) rig.Result {
	s.t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(s.program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return rig.Result{Code: cmd.ProcessState.ExitCode(), Stdout: out.String(), Stderr: errs.String()}
}

// TestParachuteTakesThePlaceOfKamalProxy on the same directory: with the same answers of three services,
// the same certificate, and no new order.
func TestParachuteTakesThePlaceOfKamalProxy(t *testing.T) {
	t.Parallel()
	home, err := os.MkdirTemp("", "kamal-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	httpPort, err := rig.FreePort()
	must(t, err)
	httpsPort, err := rig.FreePort()
	must(t, err)
	ca, err := startAuthority(authorityOptions{lifetime: 90 * 24 * time.Hour}, home, httpPort, httpsPort)
	must(t, err)
	t.Cleanup(ca.close)
	env := append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+home, "SSL_CERT_FILE="+ca.rootFile,
		fmt.Sprintf("HTTP_PORT=%d", httpPort), fmt.Sprintf("HTTPS_PORT=%d", httpsPort),
		"PARACHUTE_ADMIN=unix/"+home+"/admin.sock", "PARACHUTE_ACME_CA="+ca.url, "PARACHUTE_ACME_CA_ROOT="+ca.rootFile)
	a, other := startApp(t, named("one")), startApp(t, named("two"))

	theirs := &kamalServer{t: t, program: filepath.Join(home, "theirs"), env: env}
	build := exec.Command("go", "build", "-trimpath", "-o", theirs.program, "github.com/basecamp/kamal-proxy/cmd/kamal-proxy")
	build.Dir, build.Env = "../../bench/kamal-proxy", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building kamal-proxy: %v\n%s", err, out)
	}
	theirs.start()
	host := "kamal." + domain
	deploy := kamalDeploy{Service: "web", TargetURLs: []string{a.addr()}}
	deploy.DeploymentOptions.DeployTimeout, deploy.DeploymentOptions.DrainTimeout = 10*time.Second, time.Second
	o := &deploy.ServiceOptions
	o.Hosts, o.PathPrefixes, o.StripPrefix, o.TLSEnabled, o.TLSRedirect = []string{host}, []string{"/"}, true, true, true
	o.ACMEDirectory, o.ACMECachePath = ca.url, filepath.Join(home, ".config", "kamal-proxy", "certs")
	check := &deploy.TargetOptions.HealthCheckConfig
	check.Path, check.Interval, check.Timeout = "/up", time.Second, time.Second
	deploy.TargetOptions.ResponseTimeout = 10 * time.Second
	client, err := rpc.Dial("unix", filepath.Join(home, "kamal-proxy.sock"))
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

	binary, err := rig.ParachuteBinary()
	must(t, err)
	ours := &kamalServer{t: t, program: filepath.Join(home, "kamal-proxy"), env: env}
	must(t, os.Symlink(binary, ours.program))
	ours.start()
	answers()
	if after := serial(); after != before {
		t.Errorf("the certificate was %s, and is %s", before, after)
	}
	if now := ca.ordersFor(host); now != orders || orders == 0 {
		t.Errorf("there were %d orders, and now there are %d", orders, now)
	}
	if log := ours.log.String(); !strings.Contains(log, "certificate of "+host+", valid until") || !strings.Contains(log, "the account at "+ca.url) {
		t.Error("the log does not tell what was taken over")
	}
	ours.stop()
}
