package apps

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// instance is an instance of an application, at an address of its own.
type instance struct {
	server  server
	name    string
	port    int
	dir     string
	command []string

	cmd    *exec.Cmd
	exited chan struct{}
	output rig.LockedBuffer
}

// newInstance starts an instance, which ends with the test.
func newInstance(t *testing.T, s server, name string) *instance {
	t.Helper()
	port, err := rig.FreePort()
	must(t, err)
	i := &instance{server: s, name: name, port: port, dir: t.TempDir()}
	words := strings.NewReplacer("@PORT@", fmt.Sprint(port), "@NAME@", name, "@DIR@", i.dir)
	for _, arg := range s.command {
		i.command = append(i.command, words.Replace(arg))
	}
	i.command[0], err = rig.LookPath(i.command[0])
	must(t, err)
	if s.config != "" {
		content, err := os.ReadFile(filepath.Join("testdata", s.config))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(i.dir, s.config), []byte(words.Replace(string(content))), 0o600))
	}
	i.start(t)
	t.Cleanup(func() {
		i.kill()
		if t.Failed() {
			t.Logf("what %s has written:\n%s", name, i.output.String())
		}
	})
	return i
}

func (i *instance) addr() string { return fmt.Sprint("127.0.0.1:", i.port) }

// start starts the server and returns at once: it is the proxy that has to wait.
func (i *instance) start(t *testing.T) {
	t.Helper()
	i.cmd = exec.Command(i.command[0], i.command[1:]...)
	i.cmd.Dir = "testdata"
	i.cmd.Env = append(os.Environ(), "APP_NAME="+i.name, fmt.Sprint("PORT=", i.port), "PYTHONDONTWRITEBYTECODE=1")
	i.cmd.Stdout, i.cmd.Stderr = &i.output, &i.output
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, i.cmd.Start())
	i.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(i.cmd, i.exited)
}

// stop asks the server to end, and waits until it has.
func (i *instance) stop(t *testing.T) {
	t.Helper()
	signal := i.server.stop
	if signal == 0 {
		signal = syscall.SIGTERM
	}
	must(t, i.cmd.Process.Signal(signal))
	waitFor(t, i.server.name+" to end", func() bool {
		select {
		case <-i.exited:
			return true
		default:
			return false
		}
	})
}

// kill ends the server and its workers at once, as the end of a container does.
func (i *instance) kill() {
	_ = syscall.Kill(-i.cmd.Process.Pid, syscall.SIGKILL)
	<-i.exited
}

// waitUntilGone waits until nobody listens at the address: a worker may live on for a
// moment after the process that started it has gone.
func (i *instance) waitUntilGone(t *testing.T) {
	t.Helper()
	waitFor(t, "the port of "+i.server.name, func() bool {
		l, err := net.Listen("tcp", i.addr())
		if err == nil {
			l.Close()
		}
		return err == nil
	})
}

// redirected reports whether the application sends its health check to HTTPS.
func redirected(i *instance) (bool, error) {
	client := http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+i.addr()+"/up", nil)
	if err != nil {
		return false, err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusMovedPermanently && strings.HasPrefix(resp.Header.Get("Location"), "https://"), nil
}
