package integration

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

func answer500(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusInternalServerError)
}

// visitors are clients with addresses of their own, which ask for a page again and again.
type visitors struct {
	stop    chan struct{}
	running sync.WaitGroup
	// other counts answers that were no 200 and no 500.
	other atomic.Int64
}

// startVisitors starts as many visitors as there are addresses from 127.0.1.1 on.
func startVisitors(p *rig.Proxy, n int, path string) *visitors {
	v := &visitors{stop: make(chan struct{})}
	for i := range n {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i))}}
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext}}
		v.running.Go(func() {
			defer client.CloseIdleConnections()
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for {
				select {
				case <-v.stop:
					return
				case <-pause.C:
				}
				resp, err := client.Get(p.URL() + path)
				if err != nil || resp.StatusCode != 200 && resp.StatusCode != 500 {
					v.other.Add(1)
				}
				if err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	return v
}

// end ends the visits, of which none may have been lost.
func (v *visitors) end(t *testing.T) {
	t.Helper()
	close(v.stop)
	v.running.Wait()
	if n := v.other.Load(); n > 0 {
		t.Errorf("%d visits got no answer of the application", n)
	}
}

// failUntilTakenBack has visitors until a deployment has ended.
func failUntilTakenBack(t *testing.T, p *rig.Proxy, ended <-chan struct{}) {
	t.Helper()
	v := startVisitors(p, 4, "/")
	arrive(t, "the end of the deployment", ended)
	v.end(t)
}

// start runs a command in the background and returns a channel with its outcome.
func start(t *testing.T, p *rig.Proxy, args ...string) <-chan rig.Result {
	t.Helper()
	result := make(chan rig.Result, 1)
	go func() {
		r, err := p.Run(args...)
		if err != nil {
			t.Error(err)
		}
		result <- r
	}()
	return result
}

// wantLineup waits until the only service has an active release, a candidate and one on
// standby, 0 for none, and nothing drains.
func wantLineup(t *testing.T, p *rig.Proxy, active, candidate, standby int) (s api.ServiceStatus) {
	t.Helper()
	number := func(r *api.ReleaseStatus) int {
		if r == nil {
			return 0
		}
		return r.Release
	}
	waitFor(t, fmt.Sprintf("v%d to serve, v%d as a candidate, v%d on standby", active, candidate, standby), func() bool {
		all := services(t, p)
		if len(all) != 1 {
			return false
		}
		s = all[0]
		return number(s.Active) == active && number(s.Candidate) == candidate && number(s.Standby) == standby && len(s.Draining) == 0
	})
	return s
}

// A bad release under every kind of request: it is taken back within moments, the old one
// serves again, and but for the answers of the bad release itself, nothing is lost.
func TestBadReleaseIsTakenBack(t *testing.T) {
	p := startProxy(t)
	good, bad := startExample(t, "good"), startExample(t, "bad")
	wantRun(t, p, 0, "deploy", good.Addr)
	load := rig.StartLoad(p.Addr(), 1, 20*time.Millisecond)
	waitFor(t, "requests", func() bool { n, _ := load.Requests(); return n > 100 })
	watched := start(t, p, "deploy", bad.Addr, "--watch", "1m", "--stream-timeout", "500ms")
	wantLineup(t, p, 2, 0, 1)
	// What fails with this release is a page that the load does not ask for.
	v := startVisitors(p, 60, "/fail")
	r := arrive(t, "the end of the watch", watched)
	v.end(t)
	if r.Code != 8 || !strings.Contains(r.Stderr, "requests to v2 failed (limit ") || !strings.Contains(r.Stderr, "v1 serves all") {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
	wantLineup(t, p, 1, 0, 0)
	load.Stop()
	if n, failed := load.Requests(); failed > 0 {
		t.Errorf("%d of %d requests failed: %s", failed, n, load.Errors())
	}
	if r := run(t, p, "history", "default"); !strings.Contains(r.Stdout, "reverted") || !strings.Contains(r.Stdout, "serves") {
		t.Errorf("the history does not tell:\n%s", r.Stdout)
	}
	if r := run(t, p, "status", "default"); !strings.Contains(r.Stdout, "taken back") {
		t.Errorf("the status does not tell:\n%s", r.Stdout)
	}
}

func TestGoodReleaseIsTrustedAfterTheWatch(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	wantRun(t, p, 0, "deploy", a.addr())
	v := startVisitors(p, 3, "/")
	defer v.end(t)
	r := wantRun(t, p, 0, "deploy", b.addr(), "--watch", "1s")
	for _, want := range []string{"v2 is watched, and v1 ready to serve again", "v2 is trusted", "drained " + a.addr()} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("%q is missing:\n%s", want, r.Stderr)
		}
	}
	wantLineup(t, p, 2, 0, 0)
}

// What makes both releases fail, such as a database that is down, is no reason to go back.
func TestOutageOfBothReleasesRevertsNothing(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", answer500)
	wantRun(t, p, 0, "deploy", a.addr())
	v := startVisitors(p, 4, "/")
	defer v.end(t)
	watched := start(t, p, "deploy", b.addr(), "--watch", "2s")
	wantLineup(t, p, 2, 0, 1)
	a.unready.Store(true)
	if r := arrive(t, "the end of the watch", watched); r.Code != 9 || !strings.Contains(r.Stderr, "v1 cannot take over: ") {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
	wantLineup(t, p, 2, 0, 1)
	a.unready.Store(false)
	wantRun(t, p, 0, "rollout", "abort", "default")
	wantLineup(t, p, 1, 0, 0)
}

func TestOutageOfBothReleasesAbortsNoCanary(t *testing.T) {
	p := startProxy(t)
	var down atomic.Bool
	answer := func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	a, b := startApp(t, "a", answer), startApp(t, "b", answer)
	wantRun(t, p, 0, "deploy", a.addr())
	wantRun(t, p, 9, "deploy", b.addr(), "--canary", "50%")
	v := startVisitors(p, 8, "/")
	defer v.end(t)
	down.Store(true)
	waitFor(t, "many failures", func() bool { s := services(t, p)[0].Rollout; return s != nil && s.Evidence.Failures > 10 })
	if s := wantLineup(t, p, 1, 2, 0); s.Rollout.Evidence.Odds >= 100 {
		t.Errorf("%+v", s.Rollout)
	}
}

// Failures of one client are not independent of each other.
func TestCrawlerOnOneAddressRevertsNothing(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	b := startApp(t, "b", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			answer500(w, r)
		}
	})
	wantRun(t, p, 0, "deploy", a.addr())
	visits := startVisitors(p, 3, "/")
	watched := start(t, p, "deploy", b.addr(), "--watch", "3s")
	wantLineup(t, p, 2, 0, 1)
	crawler := startVisitors(p, 1, "/fail")
	if r := arrive(t, "the end of the watch", watched); r.Code != 0 {
		t.Errorf("exit %d\n%s", r.Code, r.Stderr)
	}
	crawler.end(t)
	visits.end(t)
	wantLineup(t, p, 2, 0, 0)
}

// A share of browsers gets the new release, stays with it while the share grows, and all of
// them go back when it is aborted.
func TestCanaryMovesPeopleForwardOnly(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	wantRun(t, p, 0, "deploy", a.addr())
	r := wantRun(t, p, 9, "deploy", b.addr(), "--canary", "10%")
	if !strings.Contains(r.Stderr, "parachute rollout promote default") {
		t.Errorf("what to do is not said:\n%s", r.Stderr)
	}
	const people = 300
	jars := make([]*cookiejar.Jar, people)
	visit := func() map[int]bool {
		got := make(map[int]bool)
		for i := range jars {
			if jars[i] == nil {
				jars[i], _ = cookiejar.New(nil)
			}
			client := &http.Client{Jar: jars[i]}
			req, err := http.NewRequest(http.MethodGet, p.URL()+"/", nil)
			must(t, err)
			req.Header.Set("Sec-Fetch-Mode", "navigate")
			resp, err := client.Do(req)
			must(t, err)
			resp.Body.Close()
			if resp.Header.Get("X-Instance") == "b" {
				got[i] = true
			}
		}
		return got
	}
	first := visit()
	if n := len(first); n < people/50 || n > people/4 {
		t.Errorf("%d of %d got the canary of 10%%", n, people)
	}
	if again := visit(); !maps.Equal(first, again) {
		t.Error("people have moved although the share has not changed")
	}
	wantRun(t, p, 0, "rollout", "set", "default", "--weight", "40%")
	p.Kill()
	must(t, p.Start())
	more := visit()
	for i := range first {
		if !more[i] {
			t.Errorf("%d has moved back", i)
		}
	}
	if len(more) <= len(first) {
		t.Errorf("%d have the canary of 40%%, %d had that of 10%%", len(more), len(first))
	}
	resp, _ := get(t, p, "any.test", "/style.css")
	if resp.Header.Get("Set-Cookie") != "" {
		t.Error("a part of a page gets a cookie")
	}
	wantRun(t, p, 0, "rollout", "abort", "default")
	if got := visit(); len(got) > 0 {
		t.Errorf("%d still get what was aborted", len(got))
	}
	resp, _ = get(t, p, "any.test", "/")
	if resp.Header.Get("Set-Cookie") != "" {
		t.Error("a cookie is set without a rollout")
	}
}

// A link shows a canary of 0 %, and leads past a stop, for whoever has it.
func TestLinkOpensWhatNotEverybodyGets(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	wantRun(t, p, 0, "deploy", a.addr(), "--host", "app.test")
	wantRun(t, p, 9, "deploy", b.addr(), "--service", "app.test", "--canary", "0%")
	open := func(link string) (client *http.Client, instance string) {
		jar, _ := cookiejar.New(nil)
		toProxy := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", p.Addr())
		}
		client = &http.Client{Jar: jar, Transport: &http.Transport{DialContext: toProxy}}
		resp, err := client.Get(link)
		must(t, err)
		resp.Body.Close()
		if strings.Contains(resp.Request.URL.RawQuery, "parachute_preview") {
			t.Errorf("the token has come to the application: %s", resp.Request.URL)
		}
		return client, resp.Header.Get("X-Instance")
	}
	link := strings.TrimSpace(wantRun(t, p, 0, "rollout", "preview", "app.test").Stdout)
	_, port, _ := net.SplitHostPort(p.Addr())
	client, instance := open(link)
	if instance != "b" || !strings.HasPrefix(link, "http://app.test:"+port+"/?") {
		t.Errorf("%s shows %q", link, instance)
	}
	if resp, err := client.Get("http://app.test/page?x=1"); err != nil || resp.Header.Get("X-Instance") != "b" {
		t.Errorf("the next page: %v %v", resp, err)
	}
	if resp, _ := get(t, p, "app.test", "/"); resp.Header.Get("X-Instance") != "a" {
		t.Errorf("others get %q", resp.Header.Get("X-Instance"))
	}
	if resp, _ := get(t, p, "app.test", "/?parachute_preview=AAAAAGsNmCm9xqyS_f6plO6vrhuNni12"); resp.Header.Get("X-Instance") != "a" {
		t.Error("a token that nobody has signed opens the service")
	}
	wantRun(t, p, 0, "rollout", "abort", "app.test")
	stopped := wantRun(t, p, 0, "stop", "app.test", "--link")
	lines := strings.Split(strings.TrimSpace(stopped.Stdout), "\n")
	if _, instance := open(lines[len(lines)-1]); instance != "a" {
		t.Errorf("the link of a stop shows %q", instance)
	}
	if resp, err := client.Get("http://app.test/"); err != nil || resp.StatusCode != 503 {
		t.Errorf("the link of the canary still opens: %v %v", resp, err)
	}
}

// TestLinkHasThePortOfAProxyWithoutHTTPS as well.
func TestLinkHasThePortOfAProxyWithoutHTTPS(t *testing.T) {
	p := newProxy(t, "--https-port", "0")
	p.HTTPSPort = 0
	must(t, p.Start())
	wantRun(t, p, 0, "deploy", startApp(t, "a", nil).addr(), "--host", "app.test")
	wantRun(t, p, 9, "deploy", startApp(t, "b", nil).addr(), "--service", "app.test", "--canary", "0%")
	if link, want := wantRun(t, p, 0, "rollout", "preview", "app.test").Stdout, "http://app.test:"+itoa(p.HTTPPort)+"/?"; !strings.HasPrefix(link, want) {
		t.Errorf("the link is %s, want %s", link, want)
	}
}

// TestCanaryIsSeenByWhoeverLooks at what a deploy would do, and at the history; and to apply the
// same file again changes nothing.
func TestCanaryIsSeenByWhoeverLooks(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	wantRun(t, p, 0, "deploy", a.addr(), "--host", "app.test")
	file := filepath.Join(t.TempDir(), "services.yaml")
	must(t, os.WriteFile(file, []byte("service: app.test\nhosts: [app.test]\ntargets: ["+b.addr()+"]\ncanary: 10%\n"), 0o600))
	for _, want := range []string{"app.test v1 would change:", "rollout: 10% of the clients until somebody decides"} {
		if out := wantRun(t, p, 10, "apply", "-f", file, "--dry-run").Stdout; !strings.Contains(out, want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
	wantRun(t, p, 9, "apply", "-f", file)
	if out := wantRun(t, p, 0, "apply", "-f", file, "--dry-run").Stdout; !strings.Contains(out, "app.test v2: nothing would change; it is being brought into service") {
		t.Error(out)
	}
	if out := wantRun(t, p, 0, "apply", "-f", file).Stdout; !strings.Contains(out, "app.test v2 is unchanged") {
		t.Error(out)
	}
	if out := wantRun(t, p, 10, "deploy", a.addr(), "--service", "app.test", "--sticky", "--dry-run").Stdout; !strings.Contains(out, "replace v2, which is being brought into service") {
		t.Error(out)
	}
	if out := wantRun(t, p, 0, "history", "app.test").Stdout; !strings.Contains(out, "v2 ") || !strings.Contains(out, "serves, canary") {
		t.Error(out)
	}
	wantRun(t, p, 0, "rollout", "promote", "app.test")
	if out := wantRun(t, p, 0, "history", "app.test").Stdout; strings.Contains(out, "canary") {
		t.Error(out)
	}
}

// TestOperationsDuringARollout is a cell of the table of operations and states each.
func TestOperationsDuringARollout(t *testing.T) {
	type cell struct {
		name string
		do   func(t *testing.T, p *rig.Proxy, next string, d <-chan rig.Result)
	}
	// Each begins with v1, which serves, and v2, which is a canary or watched.
	canary := []cell{
		{"canary/deploy a canary", func(t *testing.T, p *rig.Proxy, next string, _ <-chan rig.Result) {
			wantRun(t, p, 9, "deploy", next, "--steps", "20%,50%/1h")
			wantLineup(t, p, 1, 3, 0)
		}},
		{"canary/deploy", func(t *testing.T, p *rig.Proxy, next string, _ <-chan rig.Result) {
			wantRun(t, p, 0, "deploy", next)
			wantLineup(t, p, 3, 0, 0)
		}},
		{"canary/deploy and watch", func(t *testing.T, p *rig.Proxy, next string, _ <-chan rig.Result) {
			d := start(t, p, "deploy", next, "--watch", "1h")
			wantLineup(t, p, 3, 0, 1)
			wantRun(t, p, 0, "rollout", "promote", "default")
			arrive(t, "the end of the watch", d)
		}},
		{"canary/deploy that fails", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			wantRun(t, p, 3, "deploy", "127.0.0.1:1", "--deploy-timeout", "50ms")
			wantLineup(t, p, 1, 2, 0)
		}},
		{"canary/rollback", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			wantRun(t, p, 0, "rollback", "default")
			wantLineup(t, p, 1, 0, 0)
		}},
		{"canary/promote", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			wantRun(t, p, 0, "rollout", "promote", "default")
			wantLineup(t, p, 2, 0, 0)
		}},
		{"canary/abort", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			wantRun(t, p, 0, "rollout", "abort", "default")
			wantLineup(t, p, 1, 0, 0)
		}},
		{"canary/pause and resume the service", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			wantRun(t, p, 0, "pause", "default")
			if s := wantLineup(t, p, 1, 2, 0); s.Hold == nil || !strings.Contains(s.Rollout.Waiting, "paused") {
				t.Errorf("%+v %+v", s.Hold, s.Rollout)
			}
			wantRun(t, p, 0, "rollout", "promote", "default")
			if s := wantLineup(t, p, 2, 0, 0); s.Hold == nil {
				t.Error("the promotion has ended the pause")
			}
			wantRun(t, p, 0, "resume", "default")
		}},
		{"canary/restart", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			p.Kill()
			must(t, p.Start())
			if s := wantLineup(t, p, 1, 2, 0); s.Rollout.Weight != 1000 {
				t.Errorf("%+v", s.Rollout)
			}
			if r := run(t, p, "wait", "default"); r.Code != 9 || !strings.Contains(r.Stderr, "until somebody decides") {
				t.Errorf("wait: %d %s", r.Code, r.Stderr)
			}
			wantRun(t, p, 0, "rollout", "promote", "default")
		}},
		{"canary/reload", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			must(t, p.ReloadConfig(patience))
			wantLineup(t, p, 1, 2, 0)
			wantRun(t, p, 0, "rollout", "abort", "default")
			wantLineup(t, p, 1, 0, 0)
		}},
		{"canary/remove", func(t *testing.T, p *rig.Proxy, _ string, _ <-chan rig.Result) {
			wantRun(t, p, 0, "remove", "default")
			if all := services(t, p); len(all) > 0 {
				t.Errorf("%+v", all)
			}
		}},
		{"canary/take over", func(t *testing.T, p *rig.Proxy, next string, _ <-chan rig.Result) {
			r := wantRun(t, p, 4, "deploy", next, "--service", "other", "--take-over")
			if !strings.Contains(r.Stderr, "parachute rollout status default") {
				t.Errorf("what to do is not said:\n%s", r.Stderr)
			}
		}},
		{"canary/other routes", func(t *testing.T, p *rig.Proxy, next string, _ <-chan rig.Result) {
			r := wantRun(t, p, 2, "deploy", next, "--service", "default", "--host", "elsewhere.test", "--canary", "1%")
			if !strings.Contains(r.Stderr, "has to have the routes of the release that serves") {
				t.Error(r.Stderr)
			}
			wantLineup(t, p, 1, 2, 0)
		}},
	}
	watch := []cell{
		{"watch/deploy", func(t *testing.T, p *rig.Proxy, next string, d <-chan rig.Result) {
			wantRun(t, p, 0, "deploy", next)
			wantLineup(t, p, 3, 0, 0)
			if r := arrive(t, "the end of the first watch", d); r.Code != 4 || !strings.Contains(r.Stderr, "v2 was still watched when v3 took its place") {
				t.Errorf("the deployment whose place was taken: %d %s", r.Code, r.Stderr)
			}
		}},
		{"watch/deploy and watch", func(t *testing.T, p *rig.Proxy, next string, d <-chan rig.Result) {
			again := start(t, p, "deploy", next, "--watch", "1h")
			wantLineup(t, p, 3, 0, 1) // the way back leads to what was trusted last
			if r := arrive(t, "the end of the first watch", d); r.Code != 4 || !strings.Contains(r.Stderr, "v1 stays ready to serve again") {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
			wantRun(t, p, 0, "rollback", "default")
			if r := arrive(t, "the end of the second watch", again); r.Code != 8 {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
			wantLineup(t, p, 1, 0, 0)
		}},
		{"watch/deploy a canary", func(t *testing.T, p *rig.Proxy, next string, d <-chan rig.Result) {
			wantRun(t, p, 9, "deploy", next, "--canary", "1%")
			wantLineup(t, p, 2, 3, 0)
			arrive(t, "the end of the watch", d)
		}},
		{"watch/rollback", func(t *testing.T, p *rig.Proxy, _ string, d <-chan rig.Result) {
			wantRun(t, p, 0, "rollback", "default")
			wantLineup(t, p, 1, 0, 0)
			if r := arrive(t, "the end of the watch", d); r.Code != 8 || !strings.Contains(r.Stderr, "rolled back by hand") {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
		}},
		{"watch/promote", func(t *testing.T, p *rig.Proxy, _ string, d <-chan rig.Result) {
			wantRun(t, p, 0, "rollout", "promote", "default")
			wantLineup(t, p, 2, 0, 0)
			if r := arrive(t, "the end of the watch", d); r.Code != 0 {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
		}},
		{"watch/abort", func(t *testing.T, p *rig.Proxy, _ string, d <-chan rig.Result) {
			wantRun(t, p, 0, "rollout", "abort", "default")
			wantLineup(t, p, 1, 0, 0)
			if r := arrive(t, "the end of the watch", d); r.Code != 8 {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
		}},
		{"watch/pause the service", func(t *testing.T, p *rig.Proxy, _ string, d <-chan rig.Result) {
			wantRun(t, p, 0, "pause", "default")
			left := wantLineup(t, p, 2, 0, 1).Rollout.RemainingSeconds
			p.Kill()
			must(t, p.Start())
			if s := wantLineup(t, p, 2, 0, 1); s.Hold == nil || *s.Rollout.RemainingSeconds < *left/2 {
				t.Errorf("%+v %+v", s.Hold, s.Rollout)
			}
			arrive(t, "the end of the command", d)
			wantRun(t, p, 0, "resume", "default")
			wantRun(t, p, 0, "rollout", "abort", "default")
			wantLineup(t, p, 1, 0, 0)
		}},
		{"watch/orderly restart", func(t *testing.T, p *rig.Proxy, _ string, d <-chan rig.Result) {
			if _, err := p.Stop(20 * time.Second); err != nil {
				t.Fatal(err)
			}
			if r := arrive(t, "the end of the command", d); r.Code == 0 || r.Code == 8 {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
			must(t, p.Start())
			wantLineup(t, p, 2, 0, 1)
			wantRun(t, p, 124, "wait", "default", "--timeout", "300ms") // it goes on
			wantRun(t, p, 0, "rollback", "default")
			wantLineup(t, p, 1, 0, 0)
		}},
		{"watch/remove", func(t *testing.T, p *rig.Proxy, _ string, d <-chan rig.Result) {
			wantRun(t, p, 0, "remove", "default")
			if r := arrive(t, "the end of the watch", d); r.Code != 4 {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
			if all := services(t, p); len(all) > 0 {
				t.Errorf("%+v", all)
			}
		}},
	}
	for _, c := range slices.Concat(canary, watch) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := filepath.Join(t.TempDir(), "Caddyfile")
			must(t, os.WriteFile(config, []byte("{\n}\n"), 0o600))
			p := startProxy(t, "--config", config)
			a, b, next := startApp(t, "a", nil), startApp(t, "b", nil), startApp(t, "next", nil)
			wantRun(t, p, 0, "deploy", a.addr())
			var d <-chan rig.Result
			v := startVisitors(p, 2, "/")
			if strings.HasPrefix(c.name, "canary") {
				wantRun(t, p, 9, "deploy", b.addr(), "--canary", "10%")
				wantLineup(t, p, 1, 2, 0)
			} else {
				d = start(t, p, "deploy", b.addr(), "--watch", "1h")
				wantLineup(t, p, 2, 0, 1)
			}
			if strings.Contains(c.name, "restart") || strings.Contains(c.name, "reload") || strings.Contains(c.name, "pause") || strings.Contains(c.name, "remove") {
				v.end(t) // who comes while there is no proxy, or no service, or in the moment of a reload, gets no answer
				c.do(t, p, next.addr(), d)
				return
			}
			c.do(t, p, next.addr(), d)
			v.end(t)
		})
	}
}

// A watch that goes on after a restart has no way back if the release before is gone.
func TestWatchEndsAfterARestartWithoutTheOldRelease(t *testing.T) {
	t.Parallel() // the proxy waits for half a minute, in case that the application starts as well
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	wantRun(t, p, 0, "deploy", a.addr())
	d := start(t, p, "deploy", b.addr(), "--watch", "1h")
	wantLineup(t, p, 2, 0, 1)
	p.Kill()
	arrive(t, "the end of the command", d)
	a.Close()
	must(t, p.Start())
	wantLineup(t, p, 2, 0, 0)
	if !strings.Contains(p.Log(), "there is no way back to v1") {
		t.Error("the log does not say why")
	}
}

// deploy --keep: the old release serves again in an instant, and must not be removed.
func TestKeptReleaseServesAgainAtOnce(t *testing.T) {
	p := startProxy(t)
	a, b, c := startApp(t, "a", nil), startApp(t, "b", nil), startApp(t, "c", nil)
	wantRun(t, p, 0, "deploy", a.addr())
	v := startVisitors(p, 2, "/")
	defer v.end(t)
	r := wantRun(t, p, 0, "deploy", b.addr(), "--keep")
	if !strings.Contains(r.Stderr, "its instances must not be removed") {
		t.Errorf("it is not said:\n%s", r.Stderr)
	}
	if r := run(t, p, "list"); !strings.Contains(r.Stdout, "standby") {
		t.Errorf("it is not listed:\n%s", r.Stdout)
	}
	wantLineup(t, p, 2, 0, 1)
	a.unready.Store(true) // which an ordinary rollback would find out
	wantRun(t, p, 0, "rollback", "default")
	wantLineup(t, p, 1, 0, 0)
	a.unready.Store(false)
	wantRun(t, p, 0, "deploy", b.addr(), "--keep")
	wantRun(t, p, 0, "deploy", c.addr(), "--keep")
	wantLineup(t, p, 4, 0, 3)
	wantRun(t, p, 0, "rollout", "promote", "default")
	wantLineup(t, p, 4, 0, 0)
	wantRun(t, p, 5, "rollout", "promote", "default")
}

// An outside verdict takes a release back, has it wait, or lets it pass.
func TestCheckDecidesToo(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	var verdict atomic.Int64
	check := startApp(t, "check", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(verdict.Load()))
		_, _ = fmt.Fprint(w, `{"reason": "the shop sells nothing"}`)
	})
	wantRun(t, p, 0, "deploy", a.addr())
	v := startVisitors(p, 2, "/")
	defer v.end(t)
	for _, c := range []struct {
		status, code int
		want         string
	}{{500, 8, "the shop sells nothing"}, {409, 9, "the shop sells nothing"}, {204, 0, "is trusted"}} {
		verdict.Store(int64(c.status))
		r := wantRun(t, p, c.code, "deploy", b.addr(), "--watch", "500ms", "--min-requests", "1", "--on-inconclusive", "pause", "--check-url", "http://"+check.addr()+"/verdict")
		if !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%d: %q is missing:\n%s", c.status, c.want, r.Stderr)
		}
	}
}

// TestRolloutsUnderLoadLoseNothing brings releases into service in all ways, and takes them
// back, under every kind of request. It takes a few seconds, or PARACHUTE_SOAK, such as 10m.
func TestRolloutsUnderLoadLoseNothing(t *testing.T) {
	p := startProxy(t)
	apps := []string{startExample(t, "a").Addr, startExample(t, "b").Addr}
	serving := 0
	deployNext := func(code int, args ...string) {
		t.Helper()
		serving = 1 - serving
		wantRun(t, p, code, append([]string{"deploy", apps[serving], "--stream-timeout", "300ms"}, args...)...)
	}
	back := func() { serving = 1 - serving }
	wantRun(t, p, 0, "deploy", apps[serving])
	load := rig.StartLoad(p.Addr(), 8, time.Millisecond)
	rounds := []func(){
		func() { deployNext(0, "--watch", "300ms") },
		func() {
			d := start(t, p, "deploy", apps[1-serving], "--watch", "1h", "--stream-timeout", "300ms")
			waitFor(t, "the watch", func() bool { return services(t, p)[0].Rollout != nil })
			wantRun(t, p, 0, "rollback", "default")
			if r := arrive(t, "the end of the watch", d); r.Code != 8 {
				t.Errorf("%d %s", r.Code, r.Stderr)
			}
		},
		func() { deployNext(9, "--canary", "40%"); wantRun(t, p, 0, "rollout", "promote", "default") },
		func() { deployNext(9, "--canary", "40%"); wantRun(t, p, 0, "rollout", "abort", "default"); back() },
		func() {
			deployNext(0, "--steps", "20%/200ms,60%/200ms", "--watch", "200ms", "--on-inconclusive", "promote")
		},
		func() { deployNext(0, "--slow-start", "500ms") },
		func() { deployNext(0, "--keep"); wantRun(t, p, 0, "rollback", "default"); back() },
		func() { deployNext(0); wantRun(t, p, 0, "rollback", "default"); back() },
		func() {
			wantRun(t, p, 0, "pause", "default")
			deployNext(9, "--canary", "50%")
			wantRun(t, p, 0, "resume", "default")
			wantRun(t, p, 0, "rollout", "promote", "default", "--full")
		},
	}
	for began := time.Now(); ; {
		for _, round := range rounds {
			round()
		}
		if time.Since(began) > soakTime(t, 0) {
			break
		}
	}
	load.Stop()
	n, failed := load.Requests()
	t.Logf("%d requests, %d failed, %d streams closed politely", n, failed, load.StreamsClosed())
	if failed > 0 {
		t.Errorf("%s", load.Errors())
	}
}
