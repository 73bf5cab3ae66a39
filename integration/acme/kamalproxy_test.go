package acme

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// kamalProxy is a kamal-proxy, or what takes its place.
type kamalProxy interface {
	fmt.Stringer
	// start returns when it answers commands.
	start()
	// stop ends it as Docker does.
	stop()
	// run runs a command of its.
	run(args ...string) rig.Result
	// output is what it has logged.
	output() string
}

// kamalProcess is a program that runs as kamal-proxy.
type kamalProcess struct {
	t       *testing.T
	program string
	env     []string
	cmd     *exec.Cmd
	log     rig.LockedBuffer
}

func (s *kamalProcess) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.program, "run")
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, &s.log, &s.log
	must(s.t, s.cmd.Start())
	s.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended by then, if all is well
		if s.t.Failed() {
			s.t.Log(s.log.String())
		}
	})
	waitFor(s.t, "the proxy", func() bool { return s.run("list").Code == 0 })
}

func (s *kamalProcess) stop() {
	must(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	_ = s.cmd.Wait()
}

func (s *kamalProcess) run(args ...string) rig.Result {
	s.t.Helper()
	cmd := exec.Command(s.program, args...)
	cmd.Env = s.env
	return resultOf(s.t, cmd)
}

func (s *kamalProcess) output() string { return s.log.String() }

func (s *kamalProcess) String() string { return s.program }

// resultOf runs a command.
func resultOf(t *testing.T, cmd *exec.Cmd) rig.Result {
	t.Helper()
	r, err := rig.ResultOf(cmd)
	must(t, err)
	return r
}

// kamalImage is what `make docker-kamal` builds.
const kamalImage = "parachute-kamal"

// kamalVolume returns the name of a volume for the state of a kamal-proxy. Without Docker and the image,
// it skips the test.
func kamalVolume(t *testing.T) string {
	t.Helper()
	if exec.Command("docker", "image", "inspect", kamalImage).Run() != nil {
		t.Skip("there is no Docker, or no image " + kamalImage + ": make docker-kamal builds it")
	}
	name := fmt.Sprintf("kamal-rehearsal-%d", os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", name).Run() })
	return name
}

// kamalContainer is a container that runs as kamal-proxy, on the network of this machine.
type kamalContainer struct {
	t *testing.T
	// program is that of another kamal-proxy, which takes the place of the image's; or "".
	program string
	// shared is a directory that the container sees under the same path, and volume has the state.
	shared, volume string
	env            []string

	name, log string
}

func (c *kamalContainer) start() {
	c.t.Helper()
	c.name = c.volume + "-ours"
	args := []string{"run", "--detach", "--network", "host", "--volume", c.volume + ":/home/kamal-proxy/.config/kamal-proxy", "--volume", c.shared + ":" + c.shared}
	if c.program != "" {
		c.name = c.volume + "-theirs"
	}
	for _, v := range c.env {
		args = append(args, "--env", v)
	}
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Log(c.output())
		}
		_ = exec.Command("docker", "rm", "-f", c.name).Run()
	})
	if out, err := exec.Command("docker", append(append(args, "--name", c.name, kamalImage), c.command("run")...)...).CombinedOutput(); err != nil {
		c.t.Skipf("this Docker runs no containers: %v: %s", err, out)
	}
	waitFor(c.t, "the proxy", func() bool { return c.run("list").Code == 0 })
	// Its socket is its user's alone, and the test may be another one.
	rigtest.Docker(c.t, "exec", "--user", "root", c.name, "sh", "-c", "chmod a+rw "+c.shared+"/*.sock")
}

// command returns the command line of a command of the proxy's.
func (c *kamalContainer) command(args ...string) []string {
	program := c.program
	if program == "" {
		program = "kamal-proxy"
	}
	return append([]string{program}, args...)
}

func (c *kamalContainer) stop() {
	c.t.Helper()
	rigtest.Docker(c.t, "stop", c.name)
	c.log = c.output()
	rigtest.Docker(c.t, "rm", c.name)
}

func (c *kamalContainer) run(args ...string) rig.Result {
	c.t.Helper()
	return resultOf(c.t, exec.Command("docker", append([]string{"exec", c.name}, c.command(args...)...)...))
}

func (c *kamalContainer) output() string {
	if c.log != "" {
		return c.log
	}
	r := resultOf(c.t, exec.Command("docker", "logs", c.name))
	return r.Stdout + r.Stderr
}

func (c *kamalContainer) String() string { return fmt.Sprint(c.command("run"), " in ", c.name) }
