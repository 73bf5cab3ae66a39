package integration

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// sleeper is a program that does nothing, in place of the one that images have.
const sleeper = "package main\n\nimport (\n\t\"os\"\n\t\"os/signal\"\n\t\"syscall\"\n)\n\nfunc main() {\n\tc := make(chan os.Signal, 1)\n\tsignal.Notify(c, syscall.SIGTERM)\n\t<-c\n}\n"

// dockerImage makes an image of the proxy, without a registry: programs of Go need no others.
func dockerImage(t *testing.T, name string) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "sleep.go"), []byte(sleeper), 0o600))
	build := func(output string, args ...string) {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-tags", "nobadger,nomysql,nopgx", "-pgo=off", "-o", filepath.Join(dir, output)}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", output, err, out)
		}
	}
	build("sleep", filepath.Join(dir, "sleep.go"))
	build("parachute", "../caddy/parachute")
	build("example", "../example")

	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for _, folder := range []string{"usr/", "usr/bin/", "tmp/", "data/", "run/", "run/parachute/"} {
		must(t, w.WriteHeader(&tar.Header{Name: folder, Mode: 0o700, Typeflag: tar.TypeDir}))
	}
	for _, program := range []string{"sleep", "parachute", "example"} {
		content, err := os.ReadFile(filepath.Join(dir, program))
		must(t, err)
		must(t, w.WriteHeader(&tar.Header{Name: "usr/bin/" + program, Mode: 0o755, Size: int64(len(content))}))
		_, err = w.Write(content)
		must(t, err)
	}
	must(t, w.Close())
	cmd := exec.Command("docker", "import",
		"--change", `ENTRYPOINT ["parachute"]`, "--change", "ENV PATH=/usr/bin XDG_DATA_HOME=/data HOME=/data PARACHUTE_ADMIN=unix//run/parachute/admin.sock", "-", name)
	cmd.Stdin = &files
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("this Docker takes no images: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", name).Run() })
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
	compose := "docker compose"
	if exec.Command("docker", "compose", "version").Run() != nil {
		compose = "docker-compose"
		if exec.Command(compose, "version").Run() != nil {
			t.Skip("there is no Compose: docs/compose-proxy.sh is not run")
		}
	}
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
