package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// A proxy that stops tells its clients to leave. Nobody who does loses a request, and idle
// connections do not keep it from stopping.
func TestStopLosesNothing(t *testing.T) {
	const grace = 60 * time.Second
	p, client := startTLSProxy(t, secureHost)
	_, err := p.Stop(patience)
	must(t, err)
	p.Args = append(p.Args, "--grace-period", grace.String())
	must(t, p.Start())
	deploy(t, p, to(startApp(t, "a", nil)))
	conn := dial(t, p)
	must(t, conn.SetDeadline(time.Now().Add(grace+patience)))
	idle := make(chan string, 1)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		ask(t, client(protocol, secureHost), "https://"+secureHost+"/")
	}
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	go func() {
		b, err := io.ReadAll(conn)
		idle <- fmt.Sprintf("%s%v", tail(string(b), 1), err)
	}()
	roots := client("HTTP/1.1", secureHost).Transport.(*http.Transport).TLSClientConfig
	load := rig.StartRawLoad(rig.RawTarget{
		Plain: p.Addr(), Secure: p.HTTPSAddr(), PlainHost: plainHost, SecureHost: secureHost, Path: "/", TLS: roots,
	}, 2)
	waitFor(t, "some requests of each class", func() bool { return load.Answered() > 10 })
	begin := time.Now()
	code, err := p.Stop(grace)
	took := time.Since(begin)
	outcomes := load.Stop()
	text, answered, lost := rig.DescribeRaw(outcomes)
	t.Logf("stopped after %s with %d of %d requests lost\n%s", took, lost, answered+lost, text)
	if err != nil || code != 0 || took > grace/2 {
		t.Errorf("stopped with %d (%v) after %s", code, err, took)
	}
	for class, o := range outcomes {
		if len(o.Lost) > 0 || o.Refused == 0 {
			t.Errorf("%s: %d lost, %d refused", class, len(o.Lost), o.Refused)
		}
	}
	if got := arrive(t, "the end of an idle connection", idle); got != "a<nil>" {
		t.Errorf("an idle connection ends with %s", got)
	}
}

// Who sends clients to the proxy gets to know that it stops before it does.
func TestShutdownDelayIsForThoseInFront(t *testing.T) {
	port, err := rig.FreePort()
	must(t, err)
	ask := func(url string) (int, string) {
		resp, err := http.Get(url)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	ready := func() (int, string) { return ask(fmt.Sprintf("http://127.0.0.1:%d/ready", port)) }
	file := filepath.Join(t.TempDir(), "empty.json")
	must(t, os.WriteFile(file, []byte("{}"), 0o600))
	p := startProxy(t, "--metrics-port", itoa(port), "--shutdown-delay", "1h", "--config", file, "--ping-path", "/ping")
	ping := func() (int, string) { return ask(p.URL() + "/ping") }
	if code, text := ping(); code != http.StatusOK || text != "ready\n" { // though nothing is deployed
		t.Errorf("%d %q", code, text)
	}
	apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
	deploy(t, p, to(apps[0]))
	if code, text := ready(); code != http.StatusOK || text != "ready\n" {
		t.Errorf("%d %q", code, text)
	}
	must(t, p.ReloadConfig(patience)) // which does not take an hour
	if code, text := ready(); code != http.StatusOK {
		t.Errorf("after a reload, %d %q", code, text)
	}
	must(t, p.Signal(syscall.SIGTERM))
	waitFor(t, "the proxy to be not ready", func() bool {
		code, text := ready()
		return code == http.StatusServiceUnavailable && text == "stopping\n"
	})
	if code, text := ping(); code != http.StatusServiceUnavailable || text != "stopping\n" {
		t.Errorf("%d %q", code, text)
	}
	kept := &http.Client{Timeout: patience}
	fresh := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range 4 {
		for _, client := range []*http.Client{kept, fresh} {
			resp, err := client.Get(p.URL())
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := apps[i%2].name; err != nil || string(body) != want || resp.Close && client == kept {
				t.Errorf("%s is answered instead of %s, and the connection ends: %t", body, want, resp.Close)
			}
		}
		deploy(t, p, to(apps[(i+1)%2]))
	}
	p.Kill() // not in an hour

	p = startProxy(t, "--metrics-port", itoa(port), "--shutdown-delay", "1s")
	begin := time.Now()
	if code, err := p.Stop(patience); code != 0 || err != nil || time.Since(begin) < time.Second {
		t.Errorf("it stops with %d (%v) after %s", code, err, time.Since(begin))
	}
}

// Who stops the proxy by its API gets an answer.
func TestStopByTheAPIIsAnswered(t *testing.T) {
	p := newProxy(t)
	p.Front = true
	must(t, p.WriteCaddyfile("http:// {\n\tparachute\n}\n"))
	must(t, p.Start())
	deploy(t, p, api.DeployRequest{Targets: []string{startApp(t, "a", nil).addr()}})
	resp, err := p.HTTP().Post("http://localhost/stop", "", nil)
	must(t, err)
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s, %v", resp.Status, err)
	}
	if code, err := p.Stop(patience); code != 0 || err != nil {
		t.Errorf("it ends with %d (%v)", code, err)
	}
}
