package integration

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// transcript is what a command has said so far.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// begin starts a command and returns what it says.
func begin(t *testing.T, p *rig.Proxy, args ...string) (*exec.Cmd, *transcript) {
	t.Helper()
	cmd, err := p.Command(args...)
	must(t, err)
	said := new(transcript)
	cmd.Stdout, cmd.Stderr = said, said
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, said
}

// says waits until a command has said something.
func says(t *testing.T, said *transcript, what string) {
	t.Helper()
	waitFor(t, what, func() bool { return strings.Contains(said.String(), what) })
}

func exitCodeOf(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func TestRemoveShowsItsDrain(t *testing.T) {
	p := startProxy(t)
	a, arrived, release := slowApp(t, "a")
	deploy(t, p, to(a))
	slow := inBackground(t, p.URL()+"/slow")
	arrive(t, "the slow request", arrived)
	cmd, said := begin(t, p, "remove", "default")
	says(t, said, " - draining v1: 1 request, 0 streams left; requests have until ")
	says(t, said, " (--drain-timeout)")
	waiting, waited := begin(t, p, "wait", "default")
	says(t, waited, " - draining v1: 1 request, 0 streams left")
	close(release)
	arrive(t, "the slow answer", slow)
	if code := exitCodeOf(cmd); code != 0 || !strings.Contains(said.String(), "default is removed\n") {
		t.Errorf("%d %s", code, said)
	}
	if code := exitCodeOf(waiting); code != 0 || !strings.Contains(waited.String(), "default is removed\n") {
		t.Errorf("wait: %d %s", code, waited)
	}
}

func TestDeploySaysUntilWhenItWaitsAndWhatDecidesThat(t *testing.T) {
	p := startProxy(t)
	first, next := startExample(t, "first"), startApp(t, "next", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{first.Addr}})
	ws := openWebSocket(t, p, "app.test")
	go func() { // it answers the close
		for {
			if _, err := ws.Receive(); err != nil {
				return
			}
		}
	}()
	before := time.Now().Add(2 * time.Second)
	r := run(t, p, "deploy", next.addr(), "--stream-timeout", "2s")
	after := time.Now()
	match := regexp.MustCompile(`draining v1: 0 requests, 1 stream left; streams are closed by (\d\d:\d\d:\d\d) \(--stream-timeout\)`).FindStringSubmatch(r.Stderr)
	if r.Code != 0 || match == nil {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	if at := match[1]; after.Format(time.TimeOnly) > before.Format(time.TimeOnly) && (at < before.Format(time.TimeOnly) || at > after.Format(time.TimeOnly)) {
		t.Errorf("the time is %s, which is not from %s to %s", at, before, after)
	}
}

// Who reads that web-1 was drained takes it away.
func TestRedeployOfAnAddressDoesNotSayThatItWasDrained(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	for _, c := range []struct{ targets, drained string }{
		{a.addr(), ""},
		{a.addr(), "drained v1 "},
		{"http://" + strings.ToUpper(a.addr()), "drained v2 "},
		{a.addr() + " " + b.addr(), "drained v3 "},
		{b.addr(), "drained " + a.addr() + " "},
	} {
		r := run(t, p, append([]string{"deploy"}, strings.Fields(c.targets)...)...)
		if r.Code != 0 || !strings.Contains(r.Stderr, c.drained) || strings.Contains(r.Stderr, "drained") != (c.drained != "") {
			t.Errorf("deploy %s: %d, want %q in\n%s", c.targets, r.Code, c.drained, r.Stderr)
		}
	}
}

func TestWaitTakesUpADetachedDeploy(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "shop"})
	detach := func(args ...string) (id string) {
		t.Helper()
		r := run(t, p, append([]string{"deploy", "--service", "shop", "--detach"}, args...)...)
		fields := strings.Fields(r.Stdout)
		if r.Code != 0 || len(fields) != 4 || !strings.Contains(r.Stderr, "wait for it with: parachute wait "+fields[3]) {
			t.Fatalf("%d %q %s", r.Code, r.Stdout, r.Stderr)
		}
		return fields[3]
	}
	for _, by := range []string{"id", "service"} {
		b.unready.Store(true)
		what := detach(b.addr())
		if by == "service" {
			what = "shop"
		}
		if r := run(t, p, "wait", what, "--timeout", "10ms"); r.Code != 124 || !strings.Contains(r.Stderr, "not finished after 10ms") {
			t.Errorf("wait %s, for too short: %d %s", by, r.Code, r.Stderr)
		}
		cmd, said := begin(t, p, "wait", what)
		says(t, said, "probing: "+b.addr())
		b.unready.Store(false)
		if code := exitCodeOf(cmd); code != 0 || !strings.Contains(said.String(), "switched v") || !strings.Contains(said.String(), " is live\n") {
			t.Errorf("wait %s: %d %s", by, code, said)
		}
	}

	id := detach("127.0.0.1:1", "--deploy-timeout", "50ms")
	for _, what := range []string{id, "shop"} {
		r := run(t, p, "wait", what)
		if r.Code != 3 || !strings.Contains(r.Stderr, "was not healthy within 50ms; shop v3 still serves all traffic") || !strings.Contains(r.Stderr, "connection refused") {
			t.Errorf("wait %s, of one that fails: %d %s", what, r.Code, r.Stderr)
		}
	}
	r := run(t, p, "wait", id, "-o", "json")
	var status api.DeploymentStatus
	if err := json.Unmarshal([]byte(r.Stdout), &status); err != nil || r.Code != 3 || status.Error == nil || status.ID != id {
		t.Errorf("as JSON: %d %v %s", r.Code, err, r.Stdout)
	}

	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "shop"})
	if r := run(t, p, "wait", "shop"); r.Code != 0 || r.Stdout != "shop v4 is live; nothing is under way\n" {
		t.Errorf("with nothing to wait for: %d %q %s", r.Code, r.Stdout, r.Stderr)
	}
	if r := run(t, p, "wait", "shop", "-q"); r.Code != 0 || r.Stdout+r.Stderr != "" {
		t.Errorf("-q prints %s%s", r.Stdout, r.Stderr)
	}
	for args, code := range map[string]int{"wait nothing": 5, "wait abcdefabcdef": 5, "wait": 2, "wait a b": 2} {
		if r := run(t, p, strings.Fields(args)...); r.Code != code {
			t.Errorf("%s: %d %s", args, r.Code, r.Stderr)
		}
	}
}

func TestWaitTakesUpAnInterruptedDeploy(t *testing.T) {
	p := startProxy(t)
	old, arrived, release := slowApp(t, "old")
	next := startApp(t, "next", nil)
	deploy(t, p, to(old))
	slow := inBackground(t, p.URL()+"/slow")
	arrive(t, "the slow request", arrived)
	cmd, said := begin(t, p, "deploy", next.addr())
	says(t, said, "draining v1")
	must(t, cmd.Process.Signal(syscall.SIGINT))
	hint := regexp.MustCompile(`interrupted after the switch; default v2 is live\n  hint: .* wait for it with: parachute (wait \w+)`)
	code := exitCodeOf(cmd)
	match := hint.FindStringSubmatch(said.String())
	if code != 130 || match == nil {
		t.Fatalf("%d %s", code, said)
	}
	cmd, said = begin(t, p, strings.Fields(match[1])...)
	says(t, said, "draining v1: 1 request, 0 streams left")
	close(release)
	arrive(t, "the slow answer", slow)
	if code := exitCodeOf(cmd); code != 0 || !strings.Contains(said.String(), "drained "+old.addr()) || !strings.Contains(said.String(), "default v2 is live\n") {
		t.Errorf("wait: %d %s", code, said)
	}
}
