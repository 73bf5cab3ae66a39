package kamal

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// TestImageIsUsedAsKamalUsesIt needs the image of `make docker-kamal`.
func TestImageIsUsedAsKamalUsesIt(t *testing.T) {
	t.Parallel()
	const image = "parachute-kamal"
	if exec.Command("docker", "image", "inspect", image).Run() != nil {
		t.Skip("there is no Docker, or no image " + image + ": make docker-kamal builds it")
	}
	for format, want := range map[string]string{
		`{{index .Config.Labels "org.opencontainers.image.title"}}`: "kamal-proxy",
		"{{json .Config.Entrypoint}}":                               "null",
		"{{json .Config.Cmd}}":                                      `["kamal-proxy","run"]`,
		"{{.Config.User}}":                                          "kamal-proxy:kamal-proxy",
		"{{json .Config.Healthcheck}}":                              "null",
		"{{json .Config.Volumes}}":                                  "null",
	} {
		if got := rigtest.Docker(t, "image", "inspect", "--format", format, image); got != want {
			t.Errorf("%s is %s, and not %s", format, got, want)
		}
	}
	name := fmt.Sprintf("kamal-test-%d", os.Getpid())
	t.Cleanup(func() {
		_ = exec.Command("docker", "rm", "-f", name).Run()
		_ = exec.Command("docker", "volume", "rm", "-f", name).Run()
	})
	start := exec.Command("docker", "run", "--name", name, "--detach", "--restart", "unless-stopped",
		"--volume", name+":/home/kamal-proxy/.config/kamal-proxy", "--volume", t.TempDir()+":/home/kamal-proxy/.apps-config",
		"--log-opt", "max-size=10m", "--expose=9090", image, "kamal-proxy", "run", "--metrics-port", "9090")
	if out, err := start.CombinedOutput(); err != nil {
		t.Skipf("this Docker runs no containers: %v: %s", err, out)
	}
	serves := func() {
		t.Helper()
		rigtest.WaitFor(t, "the proxy", func() bool {
			time.Sleep(20 * time.Millisecond)
			return exec.Command("docker", "exec", name, "kamal-proxy", "list").Run() == nil
		})
	}
	logs := func(text string) {
		t.Helper()
		rigtest.WaitFor(t, text, func() bool { return strings.Contains(rigtest.Docker(t, "logs", name), text) })
	}
	serves()
	logs("No previous state to restore")
	if ids := rigtest.Docker(t, "exec", name, "sh", "-c", "id -u; id -g; stat -c %u:%g /home/kamal-proxy/.config/kamal-proxy"); ids != "1001\n1001\n1001:1001" {
		t.Errorf("the user and the owner of the volume are %q", ids)
	}
	// The port of the metrics is an application that is there.
	rigtest.Docker(t, "exec", name, "kamal-proxy", "deploy", "app", `--target=localhost:9090`, "--host=app.test", "--health-check-path=/metrics", `--buffer-requests=false`)
	for _, program := range [][]string{{"kamal-proxy", "list"}, {"parachute", "status"}} {
		if out := rigtest.Docker(t, append([]string{"exec", name}, program...)...); !strings.Contains(out, "app.test") {
			t.Errorf("%v: %s", program, out)
		}
	}
	began := time.Now()
	rigtest.Docker(t, "stop", name)
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("it took %s to stop it", took)
	}
	if code := rigtest.Docker(t, "inspect", "--format", "{{.State.ExitCode}}", name); code != "0" {
		t.Errorf("it ended with %s", code)
	}
	rigtest.Docker(t, "start", name)
	serves()
	logs("Restored saved state")
	if out := rigtest.Docker(t, "exec", name, "kamal-proxy", "list"); !strings.Contains(out, "app.test") {
		t.Errorf("after the restart: %s", out)
	}
	rigtest.Docker(t, "stop", name)
}
