package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// visit has a browser with an address of its own load a page from a proxy. It returns which instance has answered, and
// the cookies that the browser has got.
func visit(t *testing.T, p *rig.Proxy, path string, from byte, cookies ...*http.Cookie) (instance string, got []*http.Cookie) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, from)}}
	c := &http.Client{Timeout: rigtest.Patience, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodGet, p.URL()+path, nil)
	must(t, err)
	req.Header.Set("Accept", "text/html")
	for _, cookie := range cookies {
		req.AddCookie(cookie)
	}
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)
	return resp.Header.Get("X-Instance"), resp.Cookies()
}

// lineupOf says which release serves at a proxy, which is a canary and which on standby, and how many proxies serve it so.
func lineupOf(p *rig.Proxy) string {
	all, err := p.Services()
	if err != nil || len(all) != 1 || all[0].Active == nil || all[0].Proxies == nil {
		return "nothing"
	}
	s := all[0]
	text := fmt.Sprintf("v%d", s.Active.Release)
	if s.Candidate != nil {
		text += fmt.Sprintf(", canary v%d %s", s.Candidate.Release, s.Rollout.Weight)
	}
	if s.Standby != nil {
		text += fmt.Sprintf(", standby v%d", s.Standby.Release)
	}
	return text + ", on " + s.Proxies.String()
}

func awaitLineup(t *testing.T, proxies []*rig.Proxy, want string) {
	t.Helper()
	for i, p := range proxies {
		waitFor(t, fmt.Sprintf("proxy-%d has %s", i+1, want), func() bool { return lineupOf(p) == want })
	}
}

// A canary, a watch and a release on standby are the same on three proxies, whichever of them is asked: clients stay
// with their release, any proxy changes the rollout, what all have counted together takes a bad release back, and
// a proxy that is restarted goes on with it.
func TestRolloutsAreThoseOfAllProxies(t *testing.T) {
	proxies := newFleet(t)
	for _, p := range proxies {
		must(t, p.Start())
	}
	awaitLive(t, proxies[0], 3)
	first, next := startExample(t, "first"), startExample(t, "next")
	wantRun(t, proxies[0], 0, "deploy", first.Addr, "--service", "web")
	awaitLineup(t, proxies, "v1, on 3 of 3 proxies")

	wantRun(t, proxies[1], 9, "deploy", next.Addr, "--service", "web", "--canary", "30%", "--watch", "1h")
	awaitLineup(t, proxies, "v1, canary v2 30%, on 3 of 3 proxies")
	got := make(map[string]int)
	for i := range 30 {
		instance, cookies := visit(t, proxies[i%3], "/", 1)
		got[instance]++
		for j, p := range proxies {
			if again, _ := visit(t, p, "/", 1, cookies...); again != instance {
				t.Fatalf("a client of %s gets %s from proxy-%d", instance, again, j+1)
			}
		}
	}
	if len(got) != 2 {
		t.Errorf("of 30 clients, those of a canary of 30%% are: %v", got)
	}
	wantRun(t, proxies[2], 0, "rollout", "set", "web", "--weight", "50%")
	awaitLineup(t, proxies, "v1, canary v2 50%, on 3 of 3 proxies")
	must(t, endOf(proxies[0]))
	must(t, proxies[0].Start())
	awaitLive(t, proxies[1], 3)
	awaitLineup(t, proxies, "v1, canary v2 50%, on 3 of 3 proxies")
	wantRun(t, proxies[0], 0, "rollout", "promote", "web")
	awaitLineup(t, proxies, "v2, standby v1, on 3 of 3 proxies")
	wantRun(t, proxies[1], 0, "rollout", "promote", "web")
	awaitLineup(t, proxies, "v2, on 3 of 3 proxies")
	first.Stop() // which nobody needs any more

	bad := startExample(t, "bad")
	watched := make(chan rig.Result, 1)
	go func() {
		r, err := proxies[2].Run("deploy", bad.Addr, "--service", "web", "--watch", "1h")
		if err != nil {
			t.Error(err)
		}
		watched <- r
	}()
	awaitLineup(t, proxies, "v3, standby v2, on 3 of 3 proxies")
	for i, p := range proxies { // one failure is not enough for any of them
		visit(t, p, "/fail", byte(1+i))
	}
	r := rigtest.Arrive(t, "the end of the watch", watched)
	m := regexp.MustCompile(`(\d+) of \d+ requests to v3 failed`).FindStringSubmatch(r.Stderr)
	if r.Code != 8 || m == nil || !strings.Contains(r.Stderr, "v2 serves all") {
		t.Fatalf("exit %d\n%s", r.Code, r.Stderr)
	}
	if failed, _ := strconv.Atoi(m[1]); failed < 2 {
		t.Errorf("it is judged by one proxy: %s", m[0])
	}
	awaitLineup(t, proxies, "v2, on 3 of 3 proxies")
	if r := run(t, proxies[1], "history", "web"); !strings.Contains(r.Stdout, "reverted") {
		t.Errorf("the history of a proxy that has not decided does not tell:\n%s", r.Stdout)
	}

	last := startExample(t, "last")
	wantRun(t, proxies[0], 0, "deploy", last.Addr, "--service", "web", "--keep")
	awaitLineup(t, proxies, "v4, standby v2, on 3 of 3 proxies")
	wantRun(t, proxies[1], 0, "rollback", "web")
	awaitLineup(t, proxies, "v2, on 3 of 3 proxies")
	if instance, _ := visit(t, proxies[2], "/", 1); instance != "next" {
		t.Errorf("proxy-3 answers by %s", instance)
	}
}

func endOf(p *rig.Proxy) error {
	_, err := p.Stop(rigtest.Patience)
	return err
}
