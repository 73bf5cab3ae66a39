package integration

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
	"github.com/parachute-proxy/parachute/internal/api"
)

// upgrade has another process take over.
func upgrade(t *testing.T, p *rig.Proxy, args ...string) api.Upgrade {
	t.Helper()
	u, err := p.Upgrade(args...)
	must(t, err)
	return u
}

// awaitProcesses waits until a proxy has no more processes than most: old ones end by themselves.
func awaitProcesses(t *testing.T, p *rig.Proxy, most int) {
	t.Helper()
	waitFor(t, "old processes to end", func() bool { all, err := p.Processes(); return err == nil && len(all) > 0 && len(all) <= most })
}

// startSecured starts a proxy with a service that is served with and without TLS.
func startSecured(t *testing.T, a *app, args ...string) (*rig.Proxy, rig.RawTarget) {
	t.Helper()
	p := startProxy(t, args...)
	return p, deploySecured(t, p, a)
}

// deploySecured deploys a service that is served with and without TLS.
func deploySecured(t *testing.T, p *rig.Proxy, a *app) rig.RawTarget {
	t.Helper()
	certificate, err := selfsigned.New(secureHost)
	must(t, err)
	certificateFile, keyFile := filepath.Join(p.Dir, "cert.pem"), filepath.Join(p.Dir, "key.pem")
	must(t, certificate.Write(certificateFile, keyFile))
	deploy(t, p, api.DeployRequest{Service: "plain", Hosts: []string{plainHost}, Targets: []string{a.addr()}})
	deploy(t, p, api.DeployRequest{
		Service: "secure", Hosts: []string{secureHost}, Targets: []string{a.addr()},
		TLS: &api.TLSRequest{CertificatePath: certificateFile, PrivateKeyPath: keyFile},
	})
	return rig.RawTarget{
		Plain: p.Addr(), Secure: p.HTTPSAddr(), PlainHost: plainHost, SecureHost: secureHost, Path: "/",
		TLS: &tls.Config{RootCAs: certificate.Roots(), ServerName: secureHost},
	}
}

// descriptors counts the descriptors of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	must(t, err)
	return len(all)
}

// TestUpgradesLoseNothing takes 6 upgrades, or as many as PARACHUTE_SOAK has time for.
func TestUpgradesLoseNothing(t *testing.T) {
	duration := soakTime(t, 0)
	p, target := startSecured(t, startApp(t, "a", nil))
	load := rig.StartRawLoad(target, 2)
	first := p.PID()
	upgrades, second := 0, 0
	for begin := time.Now(); upgrades < 6 || time.Since(begin) < duration; upgrades++ {
		before := load.Answered()
		u := upgrade(t, p)
		if u.To.Generation != upgrades+2 || u.To.PID != p.PID() {
			t.Errorf("%+v after %d upgrades", u, upgrades)
		}
		if upgrades == 0 {
			second = u.To.PID
		}
		waitFor(t, "a request of each class", func() bool { return load.Answered() > before+1 })
		awaitProcesses(t, p, 3)
	}
	t.Logf("%d upgrades", upgrades)
	expectNothingLost(t, load)
	awaitProcesses(t, p, 1)
	if rig.IsRunning(first) || rig.IsRunning(second) {
		t.Error("an old process is still running")
	}
	upgrade(t, p)
	left, err := filepath.Glob(filepath.Join(p.Dir, "handover-*.sock"))
	if err != nil || len(left) > 1 {
		t.Errorf("control sockets are left: %s, %v", left, err)
	}
	if n := descriptors(t, p.PID()); n > 60 {
		t.Errorf("the last process has %d descriptors", n)
	}
}

// TestStreamsLiveThroughUpgrades and are closed politely when the old process has no time left.
func TestStreamsLiveThroughUpgrades(t *testing.T) {
	p := startProxy(t, "--linger", "8s")
	deploy(t, p, api.DeployRequest{Service: "default", Targets: []string{startExample(t, "a").Addr}})
	ws := openWebSocket(t, p, "app.test")
	old := p.PID()
	for i := range 2 {
		upgrade(t, p)
		must(t, ws.Send(fmt.Sprint("still here ", i)))
		if got, err := ws.Receive(); err != nil || !strings.Contains(got, fmt.Sprint("still here ", i)) {
			t.Fatalf("the echo after an upgrade is %q, %v", got, err)
		}
	}
	all, err := p.Processes()
	must(t, err)
	for _, command := range []string{"list", "status"} {
		if said := wantRun(t, p, 0, command).Stderr; !strings.Contains(said, fmt.Sprintf("process %d (", old)) || !strings.Contains(said, "1 stream") {
			t.Errorf("%s does not tell of the old process: %s", command, said)
		}
	}
	if len(all) < 2 || all[0].Generation != 3 {
		t.Errorf("the processes are %+v", all)
	}
	ws.SetDeadline(time.Now().Add(patience))
	_, err = ws.Receive()
	if c, ok := errors.AsType[*rig.CloseError](err); !ok || c.Code != 1001 {
		t.Errorf("the WebSocket ends with %v, want a close with 1001", err)
	}
	waitFor(t, "the old process to end", func() bool { return !rig.IsRunning(old) })
}

// TestDeployAfterAnUpgradeWaitsForTheOldProcess, which still has clients: they get the new
// release from it, and only when it holds nothing of the old one has the deploy ended.
func TestDeployAfterAnUpgradeWaitsForTheOldProcess(t *testing.T) {
	p := startProxy(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	first := startApp(t, "first", func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-goOn
		}
	})
	deploy(t, p, to(first))
	slow := make(chan int, 1)
	go func() {
		resp, _ := get(t, p, "app.test", "/slow")
		slow <- resp.StatusCode
	}()
	<-begun
	upgrade(t, p)
	cmd, said := begin(t, p, "deploy", startApp(t, "next", nil).addr())
	says(t, said, "switched v1 -> v2")
	if s := services(t, p)[0]; len(s.Draining) != 1 {
		t.Errorf("the new process holds nothing of v1, but has to wait for the old one: %+v", s.Draining)
	}
	close(goOn)
	if code := exitCodeOf(cmd); code != 0 || !strings.Contains(said.String(), "1 request") {
		t.Errorf("deploy ends with %d:\n%s", code, said)
	}
	if status := <-slow; status != http.StatusOK {
		t.Errorf("the slow request: %d", status)
	}
}

// TestDeployDuringAnUpgradeIsNotNoticedByWhoWaitsForIt.
func TestDeployDuringAnUpgradeIsNotNoticed(t *testing.T) {
	p := startProxy(t)
	deploy(t, p, to(startApp(t, "first", nil)))
	next := startApp(t, "next", nil)
	next.unready.Store(true)
	cmd, said := begin(t, p, "deploy", next.addr())
	waitFor(t, "the deployment", func() bool { return len(services(t, p)[0].Deployments) == 1 })
	upgrade(t, p)
	waitFor(t, "the deployment in the new process", func() bool { return len(services(t, p)[0].Deployments) == 1 })
	next.unready.Store(false)
	if code := exitCodeOf(cmd); code != 0 || !strings.Contains(said.String(), "default v2 is live") {
		t.Errorf("deploy ends with %d:\n%s", code, said)
	}
	if resp, _ := get(t, p, "app.test", "/"); resp.Header.Get("X-Instance") != "next" {
		t.Errorf("%q serves", resp.Header.Get("X-Instance"))
	}
}

// TestEventsAreFollowedThroughAnUpgrade, and do not keep the old process.
func TestEventsAreFollowedThroughAnUpgrade(t *testing.T) {
	p := startProxy(t)
	deploy(t, p, to(startApp(t, "first", nil)))
	cmd, said := begin(t, p, "events", "--after", "start")
	says(t, said, "switched to v1")
	old := p.PID()
	upgrade(t, p)
	waitFor(t, "the old process to end", func() bool { return !rig.IsRunning(old) })
	first := fmt.Sprintf("(process %d)", old)
	for _, want := range []string{"a new process is about to take over from parachute ", "has taken over from parachute ", first + " has ended\n"} {
		says(t, said, want)
	}
	next := startApp(t, "next", nil)
	deploy(t, p, to(next))
	says(t, said, "deploys "+next.addr())
	must(t, cmd.Process.Signal(os.Interrupt))
	if code := exitCodeOf(cmd); code != 0 {
		t.Errorf("events ends with %d:\n%s", code, said)
	}
}

// TestOldProcessOpensNoPorts when it is told to reload, as `pkill -USR1` does: it would accept nothing
// from them.
func TestOldProcessOpensNoPorts(t *testing.T) {
	p := newProxy(t)
	p.Args = []string{"--config", filepath.Join(p.Dir, "sites.Caddyfile")}
	port, err := rig.FreePort()
	must(t, err)
	write := func(more string) {
		must(t, os.WriteFile(p.Args[1], fmt.Appendf(nil, "{\n\tdefault_bind 127.0.0.1\n\thttp_port %d\n}\nhttp://www.example.com {\n\trespond site\n}\n%s", p.HTTPPort, more), 0o600))
	}
	write("")
	must(t, p.Start())
	deploy(t, p, api.DeployRequest{Service: "default", Hosts: []string{"app.test"}, Targets: []string{startExample(t, "a").Addr}})
	openWebSocket(t, p, "app.test") // has the old process stay
	old := p.PID()
	u := upgrade(t, p)
	write(fmt.Sprintf("http://:%d {\n\trespond more\n}\n", port))
	must(t, p.Leads(old))
	if err := p.ReloadConfig(patience); err == nil || !strings.Contains(p.Log(), "another process has taken over") {
		t.Errorf("the old process reloads: %v", err)
	}
	must(t, p.Leads(u.To.PID))
	must(t, p.ReloadConfig(patience))
	if _, body := getURL(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); body != "more" {
		t.Errorf("the new port answers %q", body)
	}
}

// TestUpgradeThatFailsChangesNothing: the new program ends, or hangs.
func TestUpgradeThatFailsChangesNothing(t *testing.T) {
	bin, err := rig.ParachuteBinary()
	must(t, err)
	p := newProxy(t)
	p.Program = filepath.Join(p.Dir, "parachute")
	must(t, os.Link(bin, p.Program))
	must(t, p.Start())
	deploy(t, p, api.DeployRequest{Service: "default", Targets: []string{startExample(t, "a").Addr}})
	load := rig.StartLoad(p.Addr(), 2, time.Millisecond)
	pid := p.PID()
	_, told := begin(t, p, "events", "--after", "start")
	for what, c := range map[string]struct{ script, timeout, want string }{
		"it ends":                   {"#!/bin/sh\nexit 3\n", "30s", "exit status 3"},
		"it hangs":                  {"#!/bin/sh\nexec sleep 60\n", "1s", "not served in time"},
		"it cannot use its options": {"#!/bin/sh\nexec " + bin + " \"$@\" --min-tls 9\n", "30s", "--min-tls"},
	} {
		replaceProgram(t, p.Program, func(path string) error { return os.WriteFile(path, []byte(c.script), 0o700) })
		r := run(t, p, "upgrade", "--timeout", c.timeout)
		if r.Code != 1 || !strings.Contains(r.Stderr, c.want) || !strings.Contains(r.Stderr, "this one goes on") {
			t.Errorf("%s: upgrade ends with %d, and says %s", what, r.Code, r.Stderr)
		}
		says(t, told, c.want)
	}
	replaceProgram(t, p.Program, func(path string) error { return os.Link(bin, path) })
	if u := upgrade(t, p); u.From.PID != pid {
		t.Errorf("%+v, and before it served %d", u, pid)
	}
	load.Stop()
	if n, failed := load.Requests(); failed > 0 {
		t.Errorf("%d of %d requests failed: %v", failed, n, load.Errors())
	}
}

// replaceProgram replaces a program as a package manager does.
func replaceProgram(t *testing.T, path string, make func(path string) error) {
	t.Helper()
	must(t, make(path+".new"))
	must(t, os.Rename(path+".new", path))
}

// TestOldProcessGoesOnIfTheNewOneIsKilled.
func TestOldProcessGoesOnIfTheNewOneIsKilled(t *testing.T) {
	p := startProxy(t)
	deploy(t, p, to(startApp(t, "a", nil)))
	ws := startExample(t, "ws")
	deploy(t, p, api.DeployRequest{Service: "ws", Hosts: []string{"ws.test"}, Targets: []string{ws.Addr}})
	openWebSocket(t, p, "ws.test") // has the old process stay
	old := p.PID()
	u := upgrade(t, p)
	deploy(t, p, to(startApp(t, "b", nil)))
	next, err := os.FindProcess(u.To.PID)
	must(t, err)
	must(t, next.Kill())
	must(t, p.Leads(old))
	waitFor(t, "the old process to answer", func() bool {
		all, err := p.Processes()
		return err == nil && len(all) == 1 && all[0].PID == old
	})
	_, told := begin(t, p, "events", "--after", "start")
	says(t, told, fmt.Sprintf("the process that had taken over has died; parachute %s (process %d) goes on", u.From.Version, old))
	if resp, _ := get(t, p, "app.test", "/"); resp.Header.Get("X-Instance") != "b" {
		t.Errorf("%q serves", resp.Header.Get("X-Instance"))
	}
	if status := deploy(t, p, to(startApp(t, "c", nil))); status.Release != 3 {
		t.Errorf("the next deploy is v%d", status.Release)
	}
	upgrade(t, p) // and it can hand over once more
}

// TestOldProcessGoesOnWithWhatIsStored: the new one is killed when it has stored something, and has
// not told of it.
func TestOldProcessGoesOnWithWhatIsStored(t *testing.T) {
	p := startProxy(t)
	current := filepath.Join(p.Dir, "storage", "parachute", "services", "default", "current.json")
	deploy(t, p, to(startApp(t, "a", nil)))
	stored, err := os.ReadFile(current)
	must(t, err)
	deploy(t, p, to(startApp(t, "b", nil)))
	ws := startExample(t, "ws")
	deploy(t, p, api.DeployRequest{Service: "ws", Hosts: []string{"ws.test"}, Targets: []string{ws.Addr}})
	openWebSocket(t, p, "ws.test") // has the old process stay
	old := p.PID()
	u := upgrade(t, p)
	must(t, os.WriteFile(current, stored, 0o600))
	next, err := os.FindProcess(u.To.PID)
	must(t, err)
	must(t, next.Kill())
	must(t, p.Leads(old))
	waitFor(t, "the old process to answer", func() bool {
		all, err := p.Processes()
		return err == nil && len(all) == 1 && all[0].PID == old
	})
	if resp, _ := get(t, p, "app.test", "/"); resp.Header.Get("X-Instance") != "a" {
		t.Errorf("%q serves", resp.Header.Get("X-Instance"))
	}
}

// TestOldProcessThatIsKilledLeavesNothing behind, and the new one goes on.
func TestOldProcessThatIsKilledLeavesNothing(t *testing.T) {
	p := startProxy(t)
	deploy(t, p, api.DeployRequest{Service: "default", Targets: []string{startExample(t, "a").Addr}})
	openWebSocket(t, p, "app.test") // has the old process stay
	old, err := os.FindProcess(p.PID())
	must(t, err)
	upgrade(t, p)
	sockets := filepath.Join(p.Dir, "handover-*.sock")
	if found, err := filepath.Glob(sockets); err != nil || len(found) != 1 {
		t.Fatalf("the old process has %s, %v", found, err)
	}
	must(t, old.Kill())
	waitFor(t, "its socket to go", func() bool { found, err := filepath.Glob(sockets); return err == nil && len(found) == 0 })
	if status := deploy(t, p, to(startApp(t, "b", nil))); status.Release != 2 {
		t.Errorf("the next deploy is v%d", status.Release)
	}
}

// TestStopEndsAllProcesses of the proxy, as who stops it wants.
func TestStopEndsAllProcesses(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	deploy(t, p, api.DeployRequest{Service: "default", Targets: []string{startExample(t, "a").Addr}})
	openWebSocket(t, p, "app.test")
	old := p.PID()
	upgrade(t, p)
	if !rig.IsRunning(old) {
		t.Error("the old process has ended, and has a client")
	}
	code, err := p.Stop(patience)
	if err != nil || rig.IsRunning(old) || rig.IsRunning(p.PID()) {
		t.Errorf("%d, %v: the old process runs: %t", code, err, rig.IsRunning(old))
	}
	left, err := filepath.Glob(filepath.Join(p.Dir, "*.sock"))
	if err != nil || len(left) > 0 {
		t.Errorf("sockets are left: %s, %v", left, err)
	}
}

// TestNobodyWhoDeploysNoticesAnUpgrade: neither who has not waited, nor who watches a release.
func TestNobodyWhoDeploysNoticesAnUpgrade(t *testing.T) {
	p := startProxy(t)
	deploy(t, p, to(startApp(t, "first", nil)))
	late := startApp(t, "late", nil)
	late.unready.Store(true)
	id := strings.TrimSpace(wantRun(t, p, 0, "deploy", late.addr(), "--detach", "--output", "json").Stdout)
	var detached api.DeploymentStatus
	must(t, json.Unmarshal([]byte(id), &detached))
	upgrade(t, p)
	waiting, told := begin(t, p, "wait", detached.ID)
	waitFor(t, "the deployment in the new process", func() bool { return len(services(t, p)[0].Deployments) == 1 })
	late.unready.Store(false)
	if code := exitCodeOf(waiting); code != 0 || !strings.Contains(told.String(), "default v2 is live") {
		t.Errorf("wait ends with %d:\n%s", code, told)
	}

	cmd, said := begin(t, p, "deploy", startApp(t, "watched", nil).addr(), "--watch", "3s")
	says(t, said, "switched v2 -> v3")
	upgrade(t, p)
	if code := exitCodeOf(cmd); code != 0 || !strings.Contains(said.String(), "default v3 is live") {
		t.Errorf("deploy --watch ends with %d:\n%s", code, said)
	}
}

// TestHTTP3GoesOnAfterAnUpgrade: a request that is under way is answered, and the next one finds
// the new process.
func TestHTTP3GoesOnAfterAnUpgrade(t *testing.T) {
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	a := startApp(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-goOn
		}
	})
	p, target := startSecured(t, a)
	client := tlsClient(t, p, "HTTP/3.0", target.TLS.RootCAs, secureHost)
	ask := func(path string) (int, error) {
		resp, err := client.Get("https://" + secureHost + path)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.ProtoMajor, err
	}
	waitFor(t, "HTTP/3", func() bool { major, err := ask("/"); return err == nil && major == 3 })
	slow := make(chan error, 1)
	go func() {
		_, err := ask("/slow")
		slow <- err
	}()
	<-begun
	for range 2 {
		upgrade(t, p)
	}
	close(goOn)
	if err := <-slow; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	again := tlsClient(t, p, "HTTP/3.0", target.TLS.RootCAs, secureHost)
	waitFor(t, "HTTP/3 by the new process", func() bool {
		resp, err := again.Get("https://" + secureHost + "/")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.ProtoMajor == 3
	})
	awaitProcesses(t, p, 1)
}

// TestDeploysAndUpgradesAtTheSameTime: every deploy ends well, what it has deployed serves, also
// at the processes before, and no request is lost.
func TestDeploysAndUpgradesAtTheSameTime(t *testing.T) {
	p, target := startSecured(t, startApp(t, "first", nil))
	apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
	load := rig.StartRawLoad(target, 1)
	over, deployed := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { deployed <- n }()
		for {
			select {
			case <-over:
				return
			default:
			}
			next := apps[n%len(apps)]
			if r, err := p.Run("deploy", next.addr(), "--service", "plain"); err != nil || r.Code != 0 {
				t.Errorf("deploy %d ends with %d, %v:\n%s%s", n, r.Code, err, r.Stdout, r.Stderr)
				return
			}
			n++
			resp, err := httpGet(p, plainHost)
			if err != nil || resp != next.name {
				t.Errorf("after deploy %d, %q serves: %v", n, resp, err)
				return
			}
		}
	}()
	for range 5 {
		upgrade(t, p)
		before := load.Answered()
		waitFor(t, "a request of each class", func() bool { return load.Answered() > before+1 })
		awaitProcesses(t, p, 3)
	}
	close(over)
	t.Logf("%d deploys", <-deployed)
	expectNothingLost(t, load)
}

// httpGet returns the name of the instance that answers a request.
func httpGet(p *rig.Proxy, host string) (instance string, err error) {
	req, err := http.NewRequest(http.MethodGet, p.URL()+"/", nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Header.Get("X-Instance"), nil
}
