package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// sleepBinary returns a program that does nothing, in place of the one that images have. It is built once.
var sleepBinary = sync.OnceValues(func() (string, error) {
	return rig.Build("sleep", "./integration/rig/testdata/sleep")
})

// dockerImage makes an image of the proxy that is tested.
func dockerImage(t *testing.T, name string) {
	t.Helper()
	programs := make(map[string]string)
	for program, build := range map[string]func() (string, error){"sleep": sleepBinary, "parachute": rig.ParachuteBinary, "example": rig.ExampleBinary} {
		path, err := build()
		must(t, err)
		programs[program] = path
	}
	rigtest.DockerImage(t, name, programs)
}

// dockerNetwork makes a network, and skips the test where none can be made, or no port be
// published: that is not for the script to bring about.
func dockerNetwork(t *testing.T, name string) {
	t.Helper()
	if out, err := exec.Command("docker", "network", "create", name).CombinedOutput(); err != nil {
		t.Skipf("this Docker makes no networks: %v: %s", err, out)
	}
	t.Cleanup(func() {
		for _, id := range strings.Fields(rigtest.Docker(t, "ps", "-aq", "--filter", "name="+name)) {
			rigtest.Docker(t, "rm", "-f", id)
		}
		rigtest.Docker(t, "network", "rm", name)
		for _, volume := range strings.Fields(rigtest.Docker(t, "volume", "ls", "-q", "--filter", "name="+name)) {
			rigtest.Docker(t, "volume", "rm", volume)
		}
	})
	port, err := rig.FreePort()
	must(t, err)
	at := fmt.Sprintf("127.0.0.1:%d", port)
	if out, err := exec.Command("docker", "run", "-d", "--name", name+"-try", "--network", name, "-p", at+":3000", "-e", "PORT=3000", "--entrypoint", "example", name).CombinedOutput(); err != nil {
		t.Skipf("this Docker publishes no ports: %v: %s", err, out)
	}
	client := &http.Client{Timeout: time.Second}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := client.Get("http://" + at + "/up"); err == nil {
			resp.Body.Close()
			return
		} else if time.Now().After(end) {
			t.Skipf("what this Docker publishes cannot be reached: %v", err)
		}
	}
}

// dockerRecipe is a script in docs that runs the proxy in Docker.
type dockerRecipe struct {
	script string
	// proxies is the filter of the containers of its proxies, but for the name.
	proxies string
	env     []string
}

// TestProxyInDockerIsUpgradedWithoutLoss, as docs/docker-proxy.sh does it: the ports are published.
func TestProxyInDockerIsUpgradedWithoutLoss(t *testing.T) {
	t.Parallel() // it waits nearly all the time
	port, err := rig.FreePort()
	must(t, err)
	upgradeInDocker(t, port, func(name string) dockerRecipe {
		return dockerRecipe{
			script: "docker-proxy.sh", proxies: "label=parachute=" + name,
			env: []string{"NAME=" + name, "OPTIONS=--https-port 0", fmt.Sprintf("PORTS=-p 127.0.0.1:%d:80", port)},
		}
	})
}

// TestProxyInComposeIsUpgradedWithoutLoss, as docs/compose-proxy.sh does it.
func TestProxyInComposeIsUpgradedWithoutLoss(t *testing.T) {
	t.Parallel()
	compose := rigtest.Compose(t)
	port, err := rig.FreePort()
	must(t, err)
	securePort, err := rig.FreePort()
	must(t, err)
	upgradeInDocker(t, port, func(name string) dockerRecipe {
		return dockerRecipe{
			script: "compose-proxy.sh", proxies: "name=" + name + "[-_]proxy",
			env: []string{
				"COMPOSE=" + compose, "PROJECT=" + name, "PORTS_IMAGE=" + name,
				fmt.Sprintf("HTTP_PORT=127.0.0.1:%d", port), fmt.Sprintf("HTTPS_PORT=127.0.0.1:%d", securePort),
			},
		}
	})
}

// upgradeInDocker starts a proxy by a recipe, which publishes its port for HTTP, and upgrades it twice.
func upgradeInDocker(t *testing.T, port int, recipeFor func(name string) dockerRecipe) {
	t.Helper()
	if err := exec.Command("docker", "info").Run(); err != nil {
		t.Skip("there is no Docker: what docs have for it is not run")
	}
	name := fmt.Sprintf("parachute-test-%d-%d", os.Getpid(), port)
	dockerImage(t, name)
	recipe := recipeFor(name)
	script := func(what string) {
		t.Helper()
		cmd := exec.Command("sh", "../docs/"+recipe.script, what)
		cmd.Env = append(append(os.Environ(), "IMAGE="+name, "NETWORK="+name), recipe.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
	}
	proxies := func() []string { return strings.Fields(rigtest.Docker(t, "ps", "-q", "--filter", recipe.proxies)) }
	dockerNetwork(t, name)
	rigtest.Docker(t, "run", "-d", "--name", name+"-app", "--network", name, "-e", "PORT=3000", "--entrypoint", "example", name)
	script("start")
	waitFor(t, "the proxy", func() bool {
		all := proxies()
		return len(all) == 1 && exec.Command("docker", "exec", all[0], "parachute", "list", "-q").Run() == nil
	})
	rigtest.Docker(t, "exec", proxies()[0], "parachute", "deploy", name+"-app:3000")

	load := rig.StartRawLoad(rig.RawTarget{Plain: fmt.Sprintf("127.0.0.1:%d", port), PlainHost: plainHost, Path: "/"}, 2)
	for range 2 {
		before, old := load.Answered(), proxies()[0]
		script("upgrade")
		waitFor(t, "requests at the new proxy", func() bool { return load.Answered() > before+10 && proxies()[0] != old })
		waitFor(t, "the end of the old proxy", func() bool { return len(proxies()) == 1 })
	}
	expectNothingLost(t, load)
	resp, err := (&http.Client{Timeout: patience}).Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	must(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)
	script("stop")
	waitFor(t, "the end", func() bool { time.Sleep(10 * time.Millisecond); return len(proxies()) == 0 })
}
