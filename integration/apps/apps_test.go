package apps

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/internal/api"
)

// Whatever serves the application: a deploy loses no request, and when an instance is
// restarted in place, or killed, only that is lost which it was working on and which may
// not be sent again.
func TestOnlyWhatAnAppServerWasWorkingOnIsLost(t *testing.T) {
	if os.Getenv("PARACHUTE_APPS") == "" {
		t.Skip("skipped: make test-apps runs the tests with real application servers")
	}
	var table strings.Builder
	table.WriteString("Requests lost at 15 a second, to one instance:\n\n| server | version | two deploys | restart in place | `kill -9` |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range servers() {
		t.Run(s.name, func(t *testing.T) {
			version := versionOf(t, s)
			if s.redirects {
				expectRefusal(t, s)
			}
			fmt.Fprintf(&table, "| %s | %s | %s |\n", s.name, version, strings.Join(endure(t, s), " | "))
		})
	}
	fmt.Printf("\n%s\n", table.String())
}

// versionOf returns the version of a server, or skips the test if it is not there.
func versionOf(t *testing.T, s server) string {
	t.Helper()
	for _, program := range []string{s.version[0], s.command[0]} {
		if _, err := rig.LookPath(program); err != nil {
			t.Skipf("skipped: %s is not installed", program)
		}
	}
	path, err := rig.LookPath(s.version[0])
	must(t, err)
	out, err := exec.Command(path, s.version[1:]...).CombinedOutput()
	if err != nil {
		t.Skipf("skipped: %s is not installed: %s: %.200s", s.name, strings.Join(s.version, " "), out)
	}
	// "gunicorn (version 20.1.0)", "puma version 5.6.5", "PHP 8.2.30 (cli) (built: ...)"
	for _, word := range strings.FieldsFunc(string(out), func(r rune) bool { return strings.ContainsRune(" \n()/", r) }) {
		if digits := strings.TrimPrefix(word, "v"); strings.Contains(digits, ".") && strings.Trim(digits, "0123456789.") == "" {
			return digits
		}
	}
	return strings.TrimSpace(string(out))
}

// endure returns what was lost in two deploys, a restart in place and by a kill.
func endure(t *testing.T, s server) []string {
	t.Helper()
	// As behind another proxy, which ends TLS and says so.
	p := rigtest.NewProxy(t, "--trusted-proxies", "127.0.0.1/32")
	must(t, p.Start())
	one, two := newInstance(t, s, "one"), newInstance(t, s, "two")
	deploy(t, p, one)

	busy := func(l *load) {
		if !s.quick {
			l.waitForSlow(t)
		}
	}
	never := time.Time{}
	deploys := underLoad(t, p, func(*load) (from, to time.Time) {
		deploy(t, p, two)
		deploy(t, p, one)
		return never, never
	})
	restart := underLoad(t, p, func(l *load) (from, to time.Time) {
		busy(l)
		from = time.Now()
		one.stop(t)
		to = time.Now()
		one.start(t)
		return from, to
	})
	kill := underLoad(t, p, func(l *load) (from, to time.Time) {
		busy(l)
		from = time.Now()
		one.kill()
		one.waitUntilGone(t)
		to = time.Now()
		one.start(t)
		return from, to
	})
	return []string{deploys, restart, kill}
}

func deploy(t *testing.T, p *rig.Proxy, i *instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	_, err := p.Deploy(ctx, api.DeployRequest{
		Hosts: []string{host}, Targets: []string{i.addr()}, HealthCheckHeaders: []string{"X-Forwarded-Proto: https"},
	})
	must(t, err)
}

// underLoad does something while requests are made, and for some seconds after it. Of
// those, only requests may be lost which the application had when it ended, between the
// two moments that act returns, and which may not be sent again. It returns how many
// were.
func underLoad(t *testing.T, p *rig.Proxy, act func(*load) (from, to time.Time)) string {
	t.Helper()
	l := startLoad(p.URL())
	l.waitForMore(t, rate)
	from, to := act(l)
	l.waitForMore(t, 3*rate)
	all := l.end()
	lost := make(map[string]int) // by method
	for _, e := range all {
		switch {
		case e.problem != "" && e.underWay(from, to) && e.method == http.MethodPost:
			lost[e.method]++
			t.Logf("lost: %s", e)
		case e.problem != "":
			t.Errorf("lost without need: %s", e)
		case e.body != "one" && e.body != "two":
			t.Errorf("%s %s was answered with %q", e.method, e.path, e.body)
		}
	}
	if len(lost) == 0 {
		return fmt.Sprintf("0 of %d", len(all))
	}
	return fmt.Sprintf("%d GET, %d POST of %d", lost[http.MethodGet], lost[http.MethodPost], len(all))
}

// expectRefusal deploys an application that redirects its health check to HTTPS, with a
// check that does not say that it comes by HTTPS.
func expectRefusal(t *testing.T, s server) {
	t.Helper()
	p := rigtest.NewProxy(t)
	must(t, p.Start())
	i := newInstance(t, s, "one")
	// By the time a redirect is the answer, the application runs.
	waitFor(t, s.name, func() bool {
		answer, err := redirected(i)
		return err == nil && answer
	})
	_, err := p.Deploy(t.Context(), api.DeployRequest{
		Hosts: []string{host}, Targets: []string{i.addr()}, DeployTimeout: rigtest.Duration(2 * time.Second),
	})
	if api.ErrorCode(err) != api.CodeNotHealthy {
		t.Fatalf("the deploy ended with %v", err)
	}
}
