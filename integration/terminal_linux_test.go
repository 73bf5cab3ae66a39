package integration

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// openTerminal returns both sides of a pseudo-terminal of a width (pty(7)).
func openTerminal(t *testing.T, columns uint16) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	must(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { program.Close() })
	return screen, program
}

// runOnTerminal runs a command whose output is a terminal, and returns that.
func runOnTerminal(t *testing.T, p *rig.Proxy, columns uint16, args ...string) string {
	t.Helper()
	screen, program := openTerminal(t, columns)
	cmd, err := p.Command(args...)
	must(t, err)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.Stdout, cmd.Stderr = program, program
	shown := make(chan string)
	go func() {
		b, _ := io.ReadAll(screen) // ends with an error when nobody has the other side
		shown <- string(b)
	}()
	if err := cmd.Run(); err != nil {
		t.Errorf("%v: %v", args, err)
	}
	must(t, program.Close())
	return strings.ReplaceAll(arrive(t, "the end of the output", shown), "\r\n", "\n")
}

func TestListFitsTheTerminal(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Hosts: []string{"a-rather-long-name.example.test", "www.a-rather-long-name.example.test"}})
	width := func(text string) (widest int) {
		for line := range strings.Lines(text) {
			widest = max(widest, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
		}
		return widest
	}
	for _, columns := range []uint16{80, 60, 40} {
		text := runOnTerminal(t, p, columns, "list")
		if n := width(text); n == 0 || n > int(columns) || strings.Count(text, "\n") != 2 {
			t.Errorf("on %d columns:\n%s", columns, text)
		}
	}
	for what, text := range map[string]string{
		"a wide terminal": runOnTerminal(t, p, 300, "list"),
		"--wide":          runOnTerminal(t, p, 40, "list", "--wide"),
		"a pipe":          run(t, p, "list").Stdout,
	} {
		if !strings.Contains(text, "www.a-rather-long-name.example.test") || !strings.Contains(text, a.addr()) || strings.Contains(text, "…") {
			t.Errorf("%s:\n%s", what, text)
		}
	}
}

// Who starts a proxy by hand reads that it is ready, and not what each Caddy says.
func TestStartOnATerminalIsQuiet(t *testing.T) {
	p := newProxy(t)
	screen, program := openTerminal(t, 200)
	cmd, err := p.Command(append([]string{"run"}, p.RunArgs()...)...)
	must(t, err)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.Stdout, cmd.Stderr = program, program
	must(t, cmd.Start())
	must(t, program.Close())
	said := new(transcript)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(said, screen) // ends with an error when nobody has the other side
	}()
	says(t, said, "ready")
	waitFor(t, "the API", p.Answers)
	if text := said.String(); strings.Count(text, "\n") != 1 {
		t.Errorf("the start says:\n%s", text)
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	arrive(t, "the end of the output", ended)
}
