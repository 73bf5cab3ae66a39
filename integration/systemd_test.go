package integration

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sd_notify(3): systemd starts what depends on the proxy when it is ready, and
// not before.
func TestServiceManagerIsNotified(t *testing.T) {
	p := newProxy(t)
	path := filepath.Join(p.Dir, "notify.sock")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer socket.Close()
	p.Env = []string{"NOTIFY_SOCKET=" + path}
	must(t, p.Start())
	expectNotification(t, socket, "READY=1")
	_, err = p.Stop(patience)
	must(t, err)
	expectNotification(t, socket, "STOPPING=1")
}

func expectNotification(t *testing.T, socket *net.UnixConn, want string) {
	t.Helper()
	must(t, socket.SetReadDeadline(time.Now().Add(patience)))
	message := make([]byte, 4096)
	for {
		n, err := socket.Read(message)
		if err != nil {
			t.Fatalf("waiting for %s: %v", want, err)
		}
		if strings.Contains(string(message[:n]), want) {
			return
		}
	}
}

// What the unit runs is a command line that there is.
func TestUnitStartsTheProxy(t *testing.T) {
	p := newProxy(t)
	unit, err := os.ReadFile("../docs/parachute.service")
	must(t, err)
	match := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/parachute (run .*)$`).FindSubmatch(unit)
	if match == nil {
		t.Fatal("it starts something else")
	}
	args := strings.NewReplacer("/var/lib/parachute", p.Dir+"/state", "unix//run/parachute", "unix/"+p.Dir).Replace(string(match[1]))
	cmd, err := p.Command(append(strings.Fields(args), "--bind", "127.0.0.1", "--http-port", itoa(p.HTTPPort), "--https-port", "0")...)
	must(t, err)
	must(t, cmd.Start())
	waitFor(t, "the proxy", func() bool { _, err := p.Services(); return err == nil })
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if code := exitCodeOf(cmd); code != 0 {
		t.Errorf("it ends with %d", code)
	}
}

func TestUnitIsHardened(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	// Tenths: more than 3.0 fails.
	out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=30", "../docs/parachute.service").CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("this systemd-analyze cannot look at a file")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
