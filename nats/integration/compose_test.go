package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// The environment of docker-compose.fleet.yml does what its first lines say: a deploy on one proxy is one on all of them,
// also on one that was killed and comes back.
func TestFleetInComposeDeploysTogether(t *testing.T) {
	compose := rigtest.Compose(t)
	program, err := os.Executable()
	must(t, err)
	example, err := rig.ExampleBinary()
	must(t, err)
	name := fmt.Sprintf("parachute-fleet-test-%d", os.Getpid())
	rigtest.DockerImage(t, name, map[string]string{"parachute": program, "example": example}, asProgram+"=1")
	env := append(os.Environ(), "PROXY_IMAGE="+name, "WEB_IMAGE="+name)
	ports := make([]int, 3)
	for i := range ports {
		ports[i], err = rig.FreePort()
		must(t, err)
		env = append(env, fmt.Sprintf("PORT_%d=127.0.0.1:%d", i+1, ports[i]))
	}
	run := func(args ...string) (string, error) {
		words := append(strings.Fields(compose), "--project-name", name, "--file", "../../docker-compose.fleet.yml")
		words = append(words, args...)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, words[0], words[1:]...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	on := func(proxy string, args ...string) (string, error) {
		return run(append([]string{"exec", "-T", proxy, "parachute"}, args...)...)
	}
	t.Cleanup(func() { _, _ = run("down", "--volumes", "--timeout", "1") })
	if out, err := run("up", "--detach", "--no-build"); err != nil {
		t.Skipf("this Docker does not start it: %v: %s", err, out)
	}
	client := &http.Client{Timeout: time.Second}
	served := func(proxy int) string {
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[proxy]))
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err.Error()
		}
		return string(body)
	}
	waitFor(t, "three proxies", func() bool { out, _ := on("proxy-1", "fleet"); return strings.Count(out, " live ") == 3 })
	if out, err := on("proxy-1", "deploy", "parachute-web-1:3000"); err != nil {
		t.Fatal(out)
	}
	if out, err := on("proxy-2", "list"); err != nil || !strings.Contains(out, "parachute-web-1:3000") {
		t.Errorf("%v\n%s", err, out)
	}
	for proxy := range ports {
		if body := served(proxy); !strings.HasPrefix(body, "parachute-web-1, ") {
			t.Errorf("proxy-%d: %s", proxy+1, body)
		}
	}
	if out, err := run("kill", "proxy-3"); err != nil {
		t.Fatal(out)
	}
	// It is heard of for some seconds, and without its server the others may have no leader for a moment.
	waitFor(t, "proxy-3 to be forgotten", func() bool { _, err := on("proxy-2", "fleet", "forget", "proxy-3"); return err == nil })
	if out, err := on("proxy-2", "deploy", "parachute-web-2:3000"); err != nil {
		t.Fatal(out)
	}
	if out, err := run("start", "proxy-3"); err != nil {
		t.Fatal(out)
	}
	for proxy := range ports {
		waitFor(t, fmt.Sprintf("proxy-%d to serve the new release", proxy+1), func() bool { return strings.HasPrefix(served(proxy), "parachute-web-2, ") })
	}
}
