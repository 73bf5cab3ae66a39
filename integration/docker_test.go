package integration

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
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

// dockerImage makes an image of the proxy that is tested, without a registry: it has the programs, and the
// libraries that they need.
func dockerImage(t *testing.T, name string) {
	t.Helper()
	sleep, err := sleepBinary()
	must(t, err)
	parachute, err := rig.ParachuteBinary()
	must(t, err)
	example, err := rig.ExampleBinary()
	must(t, err)

	image := map[string]string{"usr/bin/sleep": sleep, "usr/bin/parachute": parachute, "usr/bin/example": example}
	for _, program := range []string{sleep, parachute, example} {
		for _, library := range librariesOf(program) {
			image[strings.TrimPrefix(library, "/")] = library
		}
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for _, folder := range []string{"tmp/", "data/", "run/", "run/parachute/"} {
		must(t, w.WriteHeader(&tar.Header{Name: folder, Mode: 0o700, Typeflag: tar.TypeDir}))
	}
	for path, from := range image {
		content, err := os.ReadFile(from)
		must(t, err)
		must(t, w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(content))}))
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

var libraryPath = regexp.MustCompile(`(/\S+) \(0x`)

// librariesOf returns the libraries that are loaded with a program: none if it is linked statically.
func librariesOf(program string) (paths []string) {
	loaded, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil
	}
	for _, found := range libraryPath.FindAllSubmatch(loaded, -1) {
		paths = append(paths, string(found[1]))
	}
	return paths
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
