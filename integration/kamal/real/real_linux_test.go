package real

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// image is that of `make docker-kamal`.
const image = "parachute-kamal"

// bound is how long everything may take.
const bound = 20 * time.Minute

// TestRealKamalDrivesTheImage needs root, Docker, the image of `make docker-kamal`, Debian's
// packages and Kamal's sources. README.md names them.
func TestRealKamalDrivesTheImage(t *testing.T) {
	if os.Getenv(stageVariable) == stageWork {
		work(t)
		return
	}
	sources := os.Getenv(sourcesVariable)
	if sources == "" {
		t.Skipf("%s does not name the folder of Kamal's sources: see README.md", sourcesVariable)
	}
	if _, _, err := rubyLibs(sources); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root can make the namespaces that Kamal deploys to")
	}
	for _, program := range []string{"ruby", "dockerd", "docker-registry", "sshd", "ssh-keygen", "ip", "iptables"} {
		if _, err := rig.LookPath(program); err != nil {
			t.Skipf("%s is not installed: see README.md", program)
		}
	}
	if exec.Command("docker", "image", "inspect", image).Run() != nil {
		t.Skip("there is no Docker, or no image " + image + ": make docker-kamal builds it")
	}

	// The Docker Engine needs a file system that is not in memory, and the user of the
	// SSH server has to get to its home.
	folder, err := os.MkdirTemp("", "parachute-kamal-real-")
	rigtest.Must(t, err)
	t.Cleanup(func() {
		rigtest.WaitFor(t, "the folder to be removed", func() bool {
			time.Sleep(50 * time.Millisecond)
			return removeControlGroups(filepath.Base(folder)) == nil && os.RemoveAll(folder) == nil
		})
	})
	rigtest.Must(t, os.Chmod(folder, 0o755))
	rigtest.Docker(t, "save", "-o", filepath.Join(folder, "proxy.tar"), image)
	rigtest.Must(t, os.WriteFile(filepath.Join(folder, "driver"), []byte(rigtest.Docker(t, "info", "--format", "{{.Driver}}")), 0o600))
	parachute, err := rig.ParachuteBinary()
	rigtest.Must(t, err)
	program, err := os.ReadFile(parachute)
	rigtest.Must(t, err)
	rigtest.Must(t, os.WriteFile(filepath.Join(folder, "parachute"), program, 0o755))
	build := exec.Command("go", append(append([]string{"build"}, rig.BuildFlags...), "-o", filepath.Join(folder, "example"),
		"github.com/parachute-proxy/parachute/example")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // its image has nothing else in it
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the sample application: %v\n%s", err, out)
	}

	// A process ends with the thread that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	// Who interrupts the test does not want its folder, either.
	ctx, cancel = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+bound.String())
	cmd.SysProcAttr = killedWithParent()
	cmd.Env = append(os.Environ(), stageVariable+"="+stageFirst, folderVariable+"="+folder)
	var output bytes.Buffer
	cmd.Stdout = io.MultiWriter(&output, os.Stdout)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		t.Errorf("the work in the namespaces: %v", err)
	}
	if !strings.Contains(output.String(), allAsserted) {
		t.Error("not everything was asserted")
	}
}

// allAsserted is what the work ends with.
const allAsserted = "all assertions were made"

// asserter prints and counts assertions.
type asserter struct {
	t      testing.TB
	step   string
	count  int
	failed int
}

// begin names what the assertions that follow are about.
func (a *asserter) begin(step string) { a.step = step }

// that asserts something. detail is shown with it if it does not hold.
func (a *asserter) that(holds bool, name string, detail any) {
	a.count++
	if holds {
		fmt.Printf("ok    %3d %s: %s\n", a.count, a.step, name)
		return
	}
	a.failed++
	text := strings.TrimSpace(fmt.Sprintf("%+v", detail))
	fmt.Printf("FALSE %3d %s: %s\n          %s\n", a.count, a.step, name, strings.ReplaceAll(text[max(0, len(text)-3000):], "\n", "\n          "))
	a.t.Errorf("%s: %s", a.step, name)
}

// contains asserts that a text has another one in it.
func (a *asserter) contains(text, part, name string) {
	a.that(strings.Contains(text, part), name, text)
}

// succeeds asserts that a command of Kamal has ended with 0.
func (a *asserter) succeeds(r result) { a.that(r.code == 0, "Kamal ends with 0", r.output) }

// serves asserts which version answers for a host.
func (a *asserter) serves(host, version string) {
	got := get(host, "/")
	a.that(got.status == 200 && got.version == version, fmt.Sprintf("%s answers with 200 and version %s", host, version), got)
}

// status asserts the status that a host answers with.
func (a *asserter) status(host string, status int) {
	got := get(host, "/")
	a.that(got.status == status, fmt.Sprintf("%s answers with %d", host, status), got)
}

// losesNothing ends a load, and asserts that it was answered, by the versions that are given.
func (a *asserter) losesNothing(l *load, versions ...string) {
	summary := l.end()
	a.that(l.requests > 0 && len(l.lost) == 0, "no request is lost: "+summary, summary)
	for _, version := range versions {
		a.that(l.versions[version] > 0, "version "+version+" has answered some of them", summary)
	}
}

// work is what happens in the namespaces.
func work(t *testing.T) {
	m := startMachine(t, os.Getenv(folderVariable))
	m.pushProxy()
	for _, version := range []string{"v1", "v2", "v3"} {
		m.pushApp("app", version)
		m.pushApp("shop", version)
	}
	m.pushApp("side", "v1")
	m.pushApp("app", "ill", "BOOT_DELAY=1h")
	m.pushApp("app", "deaf", "LISTEN_DELAY=1h")
	a := &asserter{t: t}
	s := &scenario{
		asserter: a, m: m,
		app:  newProject(m, "app", appConfig),
		shop: newProject(m, "shop", shopConfig),
	}
	for _, step := range []func(){
		s.setup, s.deploy, s.redeploy, s.rollback, s.failingDeploys, s.maintenance, s.information, s.stopAndStart,
		s.secondApp, s.pathPrefix, s.certificates, s.rebootProxy, s.stopProxy, s.slowRequests, s.accessory, s.removeSecondApp, s.removeAll, s.setupAgain,
	} {
		step()
	}
	fmt.Printf("%d passed, %d failed\n", a.count-a.failed, a.failed)
	fmt.Println(allAsserted)
}
