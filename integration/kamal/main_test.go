// Package kamal holds the black-box tests of the command line of kamal-proxy: a kamal-proxy
// 0.9.2 and parachute, called by that name, get the same commands and requests. It is a module of
// its own because it builds another program.
package kamal

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

func TestMain(m *testing.M) { rigtest.Main(m, programs) }

var must = rigtest.Must

// programs are the two programs that are called kamal-proxy.
var programs = &built{}

type built struct {
	ourOnce, theirOnce sync.Once
	dir                string
	ours, theirs       string
	ourErr, theirErr   error
}

// End removes the programs.
func (b *built) End() error { return os.RemoveAll(b.dir) }

func (b *built) folder(name string) (string, error) {
	if b.dir == "" {
		var err error
		if b.dir, err = os.MkdirTemp("", "kamal-"); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(b.dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// parachute returns the path of parachute under the name of kamal-proxy.
func parachute(t testing.TB) string {
	t.Helper()
	programs.ourOnce.Do(func() {
		programs.ours, programs.ourErr = func() (string, error) {
			binary, err := rig.ParachuteBinary()
			if err != nil {
				return "", err
			}
			dir, err := programs.folder("parachute")
			if err != nil {
				return "", err
			}
			name := filepath.Join(dir, "kamal-proxy")
			return name, os.Symlink(binary, name)
		}()
	})
	must(t, programs.ourErr)
	return programs.ours
}

// kamalProxy returns the path of kamal-proxy 0.9.2, which is built as for the benchmark.
func kamalProxy(t testing.TB) string {
	t.Helper()
	parachute(t) // which makes the folder
	programs.theirOnce.Do(func() {
		programs.theirs, programs.theirErr = func() (string, error) {
			dir, err := programs.folder("kamal")
			if err != nil {
				return "", err
			}
			name := filepath.Join(dir, "kamal-proxy")
			cmd := exec.Command("go", "build", "-trimpath", "-o", name, "github.com/basecamp/kamal-proxy/cmd/kamal-proxy")
			cmd.Dir = filepath.Join("..", "..", "bench", "kamal-proxy")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
			if out, err := cmd.CombinedOutput(); err != nil {
				return "", fmt.Errorf("building kamal-proxy: %w\n%s", err, out)
			}
			return name, nil
		}()
	})
	must(t, programs.theirErr)
	return programs.theirs
}

// server is a program that runs as kamal-proxy, with a home directory that outlives it.
type server struct {
	t       testing.TB
	program string
	home    string
	http    int
	https   int
	// env is added to the environment of the proxy and of its commands.
	env []string

	cmd  *exec.Cmd
	log  rig.LockedBuffer
	done chan struct{}
}

// newServer returns a server that is not started. It is ended with the test.
func newServer(t testing.TB, program string) *server {
	t.Helper()
	home, err := os.MkdirTemp("", "kamal-")
	must(t, err)
	s := &server{t: t, program: program, home: home}
	for _, port := range []*int{&s.http, &s.https} {
		*port, err = rig.FreePort()
		must(t, err)
	}
	t.Cleanup(func() {
		s.stop()
		if log := s.log.String(); t.Failed() {
			t.Logf("the log of %s:\n%s", program, log[max(0, len(log)-4000):])
		}
		must(t, os.RemoveAll(home))
	})
	return s
}

// data is the directory of the state of kamal-proxy.
func (s *server) data() string { return filepath.Join(s.home, ".config", "kamal-proxy") }

func (s *server) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PARACHUTE_") || strings.HasPrefix(v, "KAMAL_PROXY_")
	})
	env = append(env, rig.EdgeEnviron()...)
	return append(append(env, "HOME="+s.home, "XDG_RUNTIME_DIR="+s.home, "PARACHUTE_ADMIN=unix/"+s.home+"/admin.sock", "PARACHUTE_BIND=127.0.0.1",
		fmt.Sprintf("HTTP_PORT=%d", s.http), fmt.Sprintf("KAMAL_PROXY_HTTPS_PORT=%d", s.https)), s.env...)
}

// start starts the server and returns when it answers commands and requests.
func (s *server) start(args ...string) *server {
	s.t.Helper()
	s.cmd = exec.Command(s.program, append([]string{"run"}, args...)...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.environ(), &s.log, &s.log
	must(s.t, s.cmd.Start())
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait()
	}()
	rigtest.WaitFor(s.t, "the proxy", func() bool {
		select {
		case <-s.done:
			s.t.Fatalf("it has ended: %s\n%s", s.cmd.ProcessState, s.log.String())
		default:
		}
		conn, err := net.Dial("tcp", s.addr())
		if err != nil {
			return false
		}
		conn.Close()
		return s.run("list").Code == 0
	})
	return s
}

// stop ends the server, as Docker does, and returns how long that took.
func (s *server) stop() time.Duration {
	if s.done == nil {
		return 0
	}
	began := time.Now()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(rigtest.Patience):
		_ = s.cmd.Process.Kill()
		<-s.done
		s.t.Errorf("%s did not end", s.program)
	}
	s.done = nil
	return time.Since(began)
}

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.http) }

// run runs a command.
func (s *server) run(args ...string) rig.Result {
	s.t.Helper()
	return s.runProgram(s.program, args...)
}

func (s *server) runProgram(program string, args ...string) rig.Result {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = s.environ()
	r, err := rig.ResultOf(cmd)
	must(s.t, err)
	return r
}

// do runs a command that has to succeed.
func (s *server) do(args ...string) rig.Result {
	s.t.Helper()
	r := s.run(args...)
	if r.Code != 0 {
		s.t.Fatalf("%s: %+v", strings.Join(args, " "), r)
	}
	return r
}

// get makes a request, and returns the status and the body of the answer.
func (s *server) get(host, path string, header ...string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addr()+path, nil)
	must(s.t, err)
	req.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{
		Timeout:       rigtest.Patience,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	must(s.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(s.t, err)
	return resp.StatusCode, string(body)
}

// expect makes a request and expects an answer that has a text in it.
func (s *server) expect(host, path string, status int, text string, header ...string) {
	s.t.Helper()
	if code, body := s.get(host, path, header...); code != status || !strings.Contains(body, text) {
		s.t.Errorf("%s%s: %d %q, and not %d with %q", host, path, code, body, status, text)
	}
}
