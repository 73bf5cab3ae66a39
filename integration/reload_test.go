package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// reloadable is a proxy whose config is a file that can be loaded again.
type reloadable struct {
	*rig.Proxy
	t *testing.T
	// sites writes sites into the file; try has the proxy load it.
	sites func(string)
	try   func() error
	// generation counts the configs; each has a page that tells its number.
	generation int
	// options are global options of the file of `parachute run`.
	options string
}

// hitless reports whether the connections belong to the process.
func (p *reloadable) hitless() bool { return p.Front || p.Caddyfile == "" }

// eachWayToReload runs a test with an ordinary Caddy and what `caddy reload` does, and in
// each way that loses nothing.
func eachWayToReload(t *testing.T, test func(t *testing.T, p *reloadable)) {
	t.Run("caddy", func(t *testing.T) { reloadCaddy(t, newProxy(t), test) })
	eachHitlessWayToReload(t, test)
}

func reloadCaddy(t *testing.T, proxy *rig.Proxy, test func(t *testing.T, p *reloadable)) {
	p := &reloadable{Proxy: proxy, t: t}
	p.sites = func(sites string) { must(t, p.WriteCaddyfile(sites)) }
	p.try = func() error { return p.Reload() }
	p.write("")
	must(t, p.Start())
	test(t, p)
}

// eachHitlessWayToReload runs a test with a Caddy whose config has the connections belong to
// the process, and with `parachute run --config`, which has that always, and SIGUSR1.
func eachHitlessWayToReload(t *testing.T, test func(t *testing.T, p *reloadable)) {
	t.Run("caddy with a front", func(t *testing.T) {
		p := newProxy(t)
		p.Front = true
		reloadCaddy(t, p, test)
	})
	t.Run("parachute", func(t *testing.T) { test(t, startReloadable(t)) })
}

// startReloadable starts `parachute run --config`.
func startReloadable(t *testing.T) *reloadable {
	t.Helper()
	p := &reloadable{Proxy: newProxy(t), t: t}
	file := filepath.Join(p.Dir, "sites.Caddyfile")
	// What Caddy says of its admin servers, which settle reads, is in a detailed log only.
	p.Args = []string{"--config", file, "--debug"}
	p.sites = func(sites string) {
		must(t, os.WriteFile(file, fmt.Appendf(nil, "{\n\tdefault_bind 127.0.0.1\n\thttp_port %d\n\t%s\n}\n%s", p.HTTPPort, p.options, sites), 0o600))
	}
	p.try = func() error { return p.ReloadConfig(patience) }
	p.write("")
	must(t, p.Start())
	return p
}

// settle waits until Caddy has stopped every admin server but the last. It does so
// behind the back of a reload that is over, and a call that arrives in between can
// go unanswered. No call may be under way: the server that has it stays.
func settle(t *testing.T, p *rig.Proxy) {
	t.Helper()
	waitFor(t, "the admin servers of earlier configs to stop", func() bool {
		log := p.Log()
		return strings.Count(log, "admin endpoint started") == strings.Count(log, "stopped previous server")+1
	})
}

// write writes the config of the next generation, with more sites in it.
func (p *reloadable) write(more string) {
	p.t.Helper()
	p.generation++
	directive := "parachute"
	if p.Caddyfile == "" && len(p.Args) > 0 {
		directive = "" // `parachute run` adds it by itself
	}
	p.sites(fmt.Sprintf("http:// {\n\trespond /generation %d\n\t%s\n}\n%s\n", p.generation, directive, more))
}

// reload loads the next generation, which has to succeed.
func (p *reloadable) reload() {
	p.t.Helper()
	p.write("")
	must(p.t, p.try())
	if got := p.answer("/generation"); got != fmt.Sprint(p.generation) {
		p.t.Fatalf("after the reload, %s is the config instead of %d", got, p.generation)
	}
}

// answer asks until there is an answer: Caddy closes listeners when it reloads,
// with the connections that wait in them. See TestWhatAReloadCosts.
func (p *reloadable) answer(path string) (body string) {
	p.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	waitFor(p.t, path, func() bool {
		resp, err := client.Get(p.URL() + path)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		body = string(b)
		return err == nil
	})
	return body
}

// Trap 17: what happens to other applications and to the config does not touch a
// WebSocket that is open, or an upload that is slow.
func TestStreamsAndUploadsOutliveOtherDeploysAndReloads(t *testing.T) {
	eachWayToReload(t, func(t *testing.T, p *reloadable) {
		const deploys = 100
		others := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
		quiet := startExample(t, "quiet")
		deploy(t, p.Proxy, api.DeployRequest{Targets: []string{quiet.Addr}})

		ws := openWebSocket(t, p.Proxy, "quiet.example.com")
		upload := startUpload(t, p.Proxy, deploys+2)
		alive := func(when string) {
			t.Helper()
			upload.send()
			ws.SetDeadline(time.Now().Add(patience))
			must(t, ws.Send(when))
			if got, err := ws.Receive(); err != nil || got != when {
				t.Fatalf("the WebSocket %s: %q, %v", when, got, err)
			}
		}
		for i := range deploys {
			deploy(t, p.Proxy, requestFor("other.example.com", others[i%2]))
			alive(fmt.Sprint("after deploy ", i+1))
			if i == deploys/2 {
				p.reload()
				settle(t, p.Proxy)
				alive("after a reload")
			}
		}
		p.reload()
		settle(t, p.Proxy)
		alive("after the last reload")
		if got := upload.finish(); !strings.Contains(got, "200 OK") || !strings.Contains(got, fmt.Sprint(upload.size)) {
			t.Errorf("the upload was answered with %s", got)
		}
	})
}

// slowUpload is a request whose body comes in pieces.
type slowUpload struct {
	t    *testing.T
	conn net.Conn
	size int
}

const uploadPiece = 1000 // bytes

func startUpload(t *testing.T, p *rig.Proxy, pieces int) *slowUpload {
	u := &slowUpload{t: t, conn: dial(t, p), size: pieces * uploadPiece}
	_, err := fmt.Fprintf(u.conn, "POST /upload HTTP/1.1\r\nHost: quiet.example.com\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", u.size)
	must(t, err)
	return u
}

func (u *slowUpload) send() {
	u.t.Helper()
	must(u.t, u.conn.SetDeadline(time.Now().Add(patience)))
	_, err := u.conn.Write(make([]byte, uploadPiece))
	must(u.t, err)
}

func (u *slowUpload) finish() string {
	u.t.Helper()
	answer, err := io.ReadAll(u.conn)
	must(u.t, err)
	return string(answer)
}

// A deployment belongs to no config: it goes on when the one it began under is
// gone.
func TestDeployInProgressOutlivesAReload(t *testing.T) {
	eachWayToReload(t, func(t *testing.T, p *reloadable) {
		first, next := startApp(t, "first", nil), startApp(t, "next", nil)
		deploy(t, p.Proxy, to(first))
		next.unready.Store(true)
		deployed := p.deployInBackground(to(next))
		waitFor(t, "the deployment", func() bool { return len(services(t, p)[0].Deployments) == 1 })

		p.reload()
		s := services(t, p)
		if len(s) != 1 || s[0].Active.Release != 1 || s[0].Active.Targets[0].Health != api.HealthHealthy || len(s[0].Deployments) != 1 {
			t.Errorf("after the reload the list has %+v", s)
		}
		if got := p.answer("/"); got != "first" {
			t.Errorf("%q answers after the reload", got)
		}
		next.unready.Store(false)
		must(t, arrive(t, "the end of the deploy", deployed))
		if got := p.answer("/"); got != "next" {
			t.Errorf("%q answers after the deploy", got)
		}
	})
}

func (p *reloadable) deployInBackground(req api.DeployRequest) <-chan error {
	deployed := make(chan error, 1)
	go func() {
		_, err := p.Deploy(context.Background(), req)
		deployed <- err
	}()
	return deployed
}

// A request that came in under a config which has been replaced since counts as
// much as any other.
func TestRequestOfAnOldConfigIsDrained(t *testing.T) {
	eachWayToReload(t, func(t *testing.T, p *reloadable) {
		old, arrived, release := slowApp(t, "old")
		next := startApp(t, "next", nil)
		deploy(t, p.Proxy, to(old))
		slow := inBackground(t, p.URL()+"/slow")
		arrive(t, "the slow request", arrived)
		p.reload()
		settle(t, p.Proxy)

		deployed := p.deployInBackground(to(next))
		expectDrain(t, p.Proxy, deployed)
		close(release)
		if got := arrive(t, "the slow answer", slow); got != "200 old <nil>" {
			t.Errorf("the slow request got %q", got)
		}
		must(t, arrive(t, "the end of the deploy", deployed))
	})
}

// expectDrain waits for the switch to v2 and fails if the deploy has ended by then
// or if v1 has not exactly one request left.
func expectDrain(t *testing.T, p *rig.Proxy, deployed <-chan error) {
	t.Helper()
	waitFor(t, "the switch", func() bool { return services(t, p)[0].Active.Release == 2 })
	if draining := services(t, p)[0].Draining; len(draining) != 1 || draining[0].Requests != 1 {
		t.Errorf("draining are %+v", draining)
	}
	select {
	case err := <-deployed:
		t.Fatalf("deploy returned (%v) while the old release had a request", err)
	default:
	}
}

// `parachute run --config` serves sites and, on the same port, what is deployed. A
// site has its host for itself, unless it has the directive in it.
func TestRunWithAConfigServesSitesAndServices(t *testing.T) {
	p := newProxy(t)
	file := filepath.Join(p.Dir, "sites.Caddyfile")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{
	default_bind 127.0.0.1
	http_port %d
}
http://www.example.com {
	respond "a site"
}
http://app.example.com {
	respond /site "a page beside the app"
	parachute
}
`, p.HTTPPort), 0o600))
	p.Args = []string{"--config", file}
	must(t, p.Start())
	app, other := startApp(t, "app", nil), startApp(t, "other", nil)
	deploy(t, p, requestFor("app.example.com", app))
	deploy(t, p, requestFor("other.example.com", other))
	for _, tc := range []struct{ host, path, want string }{
		{"www.example.com", "/", "a site"},
		{"app.example.com", "/site", "a page beside the app"},
		{"app.example.com", "/", "app"},
		{"other.example.com", "/", "other"},
	} {
		if _, body := get(t, p, tc.host, tc.path); body != tc.want {
			t.Errorf("%s%s answered %q instead of %q", tc.host, tc.path, body, tc.want)
		}
	}
	if resp, _ := get(t, p, "nobody.example.com", "/"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a host that nobody has got %s", resp.Status)
	}
}

// Trap 66, first half: a deploy opens and closes no listener, so that it costs no
// connection either.
func TestDeploysLoseNoFreshConnection(t *testing.T) {
	p := startProxy(t)
	apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
	deploy(t, p, to(apps[0]))
	load := startLoad(t, p.URL(), 8, true)
	deploys := 0
	for ; deploys < 50 || load.requests.Load() < 2000; deploys++ {
		deploy(t, p, to(apps[deploys%2]))
	}
	outcome := load.end()
	t.Logf("%d deploys: %s", deploys, outcome)
	if load.failed.Load() > 0 {
		t.Error("deploys lose connections")
	}
}

// Trap 66, second half: Caddy opens its listeners anew when it reloads, and closes the old
// ones with what waits in them, and connections that clients want to use again. That is
// measured here, with a page of Caddy's own and with a service. Where connections belong to
// the process, nothing is lost.
func TestWhatAReloadCosts(t *testing.T) {
	const reloads = 12
	measure := func(t *testing.T, p *reloadable, path string) {
		load := startLoad(t, p.URL()+path, 8, true)
		for range reloads {
			p.reload()
			load.waitForMore(t, 100)
		}
		outcome := load.end()
		t.Logf("%d reloads: %s", reloads, outcome)
		if p.hitless() && load.failed.Load() > 0 {
			t.Error("reloads lose requests")
		}
	}
	eachWayToReload(t, func(t *testing.T, p *reloadable) {
		a := startApp(t, "a", nil)
		deploy(t, p.Proxy, to(a))
		t.Run("a service", func(t *testing.T) { measure(t, p, "/") })
		t.Run("a page of Caddy's own", func(t *testing.T) { measure(t, p, "/generation") })
	})
}
