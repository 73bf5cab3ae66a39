package rig

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// startTimeout bounds how long the proxy may take to answer on its admin socket.
const startTimeout = 30 * time.Second

// Proxy is a running `parachute run`.
type Proxy struct {
	// Dir holds the storage and the admin socket. They outlive the process, so
	// that the proxy can be started again. End removes it.
	Dir       string
	HTTPPort  int
	HTTPSPort int
	// Args are passed to run behind what the rig needs.
	Args []string
	// Caddyfile, if set, makes this an ordinary Caddy that is run with that file;
	// see WriteCaddyfile.
	Caddyfile string
	// Front has the sites of WriteCaddyfile keep connections over reloads.
	Front bool
	// Env is added to the environment.
	Env []string
	// Program is what is run. Default: ParachuteBinary.
	Program string
	// Wrap, if set, is a command that runs the proxy, such as strace.
	Wrap []string
	// Files are passed to the process, from descriptor 3 on.
	Files []*os.File
	// Stderr receives the log. Default: Log returns it.
	Stderr *os.File

	cmd  *exec.Cmd // of the process that was started last
	pids []int     // of all that were
	// leader is the process that has taken over last; nil as long as none has.
	leader *os.Process
	log    LockedBuffer
	done   chan struct{}
}

// NewProxy returns a proxy on free ports, with a folder of its own. Start starts it, and
// End ends it and removes the folder.
func NewProxy(args ...string) (*Proxy, error) {
	// The folder of a test (T.TempDir) can be longer than the path of a socket may be.
	dir, err := os.MkdirTemp("", "parachute-")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Dir: dir, Args: args}
	for _, port := range []*int{&p.HTTPPort, &p.HTTPSPort} {
		if *port, err = FreePort(); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	return p, nil
}

// Start starts the process and returns when it answers.
func (p *Proxy) Start() error {
	bin, err := p.program()
	if err != nil {
		return err
	}
	args := append([]string{bin, "run"}, p.RunArgs()...)
	if p.Caddyfile != "" {
		args = append([]string{bin}, p.caddyCommand("run")...)
	}
	args = append(append([]string{}, p.Wrap...), args...)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(p.Environ(), p.Env...)
	p.cmd.ExtraFiles = p.Files
	p.cmd.Stderr = &p.log
	if p.Stderr != nil {
		p.cmd.Stderr = p.Stderr
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.leader = nil
	p.pids = append(p.pids, p.PID())
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	deadline := time.Now().Add(startTimeout)
	for {
		if p.Answers() {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the proxy ended while it started: %s\n%s", p.cmd.ProcessState, p.Log())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.Kill()
			return fmt.Errorf("the proxy did not answer within %s\n%s", startTimeout, p.Log())
		}
	}
}

// Answers reports whether everything that the proxy listens on is open: Caddy
// opens it in no order.
func (p *Proxy) Answers() bool {
	if p.Caddyfile != "" {
		return p.caddyAnswers()
	}
	if _, err := p.Services(); err != nil {
		return false
	}
	for _, port := range []int{p.HTTPPort, p.HTTPSPort} {
		if port == 0 {
			continue // turned off
		}
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		conn.Close()
	}
	return true
}

// RunArgs are the flags that Start gives to run.
func (p *Proxy) RunArgs() []string {
	return append([]string{
		"--bind", "127.0.0.1", "--http-port", fmt.Sprint(p.HTTPPort), "--https-port", fmt.Sprint(p.HTTPSPort),
		"--storage", filepath.Join(p.Dir, "storage"), "--admin", p.Admin(),
	}, p.Args...)
}

// EdgeEnviron is what every proxy of a test has in its environment: run takes --edge from there
// as PARACHUTE_TEST_EDGE says, if that is set. What a test promises, it promises for both servers
// of HTTP/1.1.
func EdgeEnviron() []string {
	if edge := os.Getenv("PARACHUTE_TEST_EDGE"); edge != "" {
		return []string{"PARACHUTE_EDGE=" + edge}
	}
	return nil
}

// Environ is an environment in which no command finds another proxy.
func (p *Proxy) Environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PARACHUTE_") {
			env = append(env, v)
		}
	}
	env = append(env, EdgeEnviron()...)
	return append(env, "HOME="+p.Dir, "XDG_CONFIG_HOME="+p.Dir, "XDG_DATA_HOME="+p.Dir, "XDG_RUNTIME_DIR="+p.Dir, "NO_COLOR=1")
}

// Admin is the address of the admin endpoint.
func (p *Proxy) Admin() string { return "unix/" + p.socket() }

func (p *Proxy) socket() string { return filepath.Join(p.Dir, "admin.sock") }

// URL returns the address of the proxy over HTTP.
func (p *Proxy) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", p.HTTPPort) }

// Addr returns the proxy's host and port for HTTP.
func (p *Proxy) Addr() string { return fmt.Sprintf("127.0.0.1:%d", p.HTTPPort) }

// HTTPSAddr returns the proxy's host and port for TLS, over TCP and QUIC.
func (p *Proxy) HTTPSAddr() string { return fmt.Sprintf("127.0.0.1:%d", p.HTTPSPort) }

// InternalRoots returns what the certificates of the proxy's own authority are trusted
// by. The authority is there when its first certificate is.
func (p *Proxy) InternalRoots() (*x509.CertPool, error) {
	root, err := os.ReadFile(filepath.Join(p.Dir, "storage", "pki", "authorities", "local", "root.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	return roots, nil
}

// CertificateConfig is a config for --config that brings a certificate, from two PEM
// files. The hosts of what is deployed need not be deployed with TLS then.
func CertificateConfig(certificateFile, keyFile string) map[string]any {
	type object = map[string]any
	return object{"apps": object{"tls": object{"certificates": object{
		"load_files": []any{object{"certificate": certificateFile, "key": keyFile}},
	}}}}
}

// Log returns what the proxy has logged.
func (p *Proxy) Log() string { return p.log.String() }

func (p *Proxy) program() (string, error) {
	if p.Program != "" {
		return p.Program, nil
	}
	return ParachuteBinary()
}

// process returns the process that serves: the one that was started last, or the one that has
// taken over from it.
func (p *Proxy) process() *os.Process {
	if p.leader != nil {
		return p.leader
	}
	return p.cmd.Process
}

// PID returns the process id.
func (p *Proxy) PID() int { return p.process().Pid }

// Kill ends the process at once, as a crash would, and those that it has taken over from.
func (p *Proxy) Kill() {
	for _, pid := range p.pids {
		if process, err := os.FindProcess(pid); err == nil && IsRunning(pid) {
			_ = process.Kill()
		}
	}
	<-p.done
}

// Signal sends a signal.
func (p *Proxy) Signal(s os.Signal) error { return p.process().Signal(s) }

// ReloadConfig has the proxy read its --config file again, and waits for the outcome.
func (p *Proxy) ReloadConfig(timeout time.Duration) error {
	const good, bad = "successfully reloaded config from file", "failed to reload config from file"
	seen := len(p.Log())
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		switch since := p.Log()[seen:]; {
		case strings.Contains(since, good):
			return nil
		case strings.Contains(since, bad):
			return errors.New(bad)
		}
	}
	return fmt.Errorf("the proxy did not reload its config within %s", timeout)
}

// Complaint is about what no proxy may have, in any of its lives: a data race or a panic.
func (p *Proxy) Complaint() error {
	if err := races.Of(p.pids...); err != nil {
		return err
	}
	// A race is in the log if nobody watches for it; see WatchForRaces.
	for _, bad := range []string{"DATA RACE", "panic"} {
		if at := strings.Index(p.Log(), bad); at >= 0 {
			return fmt.Errorf("the proxy's log has a %s:\n%.4000s", bad, p.Log()[max(0, at-500):])
		}
	}
	return nil
}

// End stops the process, if it is running, removes its folder, and returns what the
// proxy is to be blamed for: that it did not stop in time, or what Complaint says.
func (p *Proxy) End(timeout time.Duration) error {
	defer os.RemoveAll(p.Dir)
	var err error
	if p.done != nil {
		// It would give idle clients time to leave by themselves.
		http.DefaultClient.CloseIdleConnections()
		_, err = p.Stop(timeout)
	}
	return errors.Join(err, p.Complaint())
}

// Stop asks the process to end and returns its exit code, or an error if it has
// not ended within the timeout.
func (p *Proxy) Stop(timeout time.Duration) (int, error) {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		p.Kill()
		return 0, fmt.Errorf("the proxy did not stop within %s\n%s", timeout, p.Log())
	}
}

// Result is how a command ended.
type Result struct {
	Code   int
	Stdout string
	Stderr string
}

// Command returns a parachute command that finds this proxy.
func (p *Proxy) Command(args ...string) (*exec.Cmd, error) {
	binary := commandBinary
	if len(args) > 0 && args[0] == "run" {
		binary = ParachuteBinary
	}
	bin, err := binary()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(p.Environ(), "PARACHUTE_ADMIN="+p.Admin())
	return cmd, nil
}

// Run runs a parachute command to its end.
func (p *Proxy) Run(args ...string) (Result, error) {
	cmd, err := p.Command(args...)
	if err != nil {
		return Result{}, err
	}
	return ResultOf(cmd)
}

// ResultOf runs a command to its end. The error is that it could not be run.
func ResultOf(cmd *exec.Cmd) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return Result{}, err
	}
	return Result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}, nil
}

// HTTP returns a client for what the admin endpoint has beside parachute's API, such as
// profiles and Caddy's config, and for requests that no client of the API would make.
func (p *Proxy) HTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", p.socket())
		},
		DisableKeepAlives: true,
	}}
}

// API returns a client for parachute's API.
func (p *Proxy) API() (*client.Client, error) { return client.New(p.Admin()) }

// Services returns the list of services.
func (p *Proxy) Services() ([]api.ServiceStatus, error) {
	c, err := p.API()
	if err != nil {
		return nil, err
	}
	return c.Services(context.Background())
}

// throughHandlers names an environment variable. If it is set, every deploy of [Proxy.Deploy]
// brings along handlers: what a proxy has to keep, it has to keep for such services as well, and
// so has every test of that.
const throughHandlers = "PARACHUTE_TEST_HANDLERS"

// testDirectives are handlers that change nothing for a client that accepts no compressed answers,
// and yet wrap both the request and the answer.
const testDirectives = `header X-Through handlers
vars through handlers
@never path /never-asked
error @never 403
encode zstd gzip
`

// Deploy deploys over the API and returns when the deployment has ended. The status of
// one that failed comes with the error, if it had begun.
func (p *Proxy) Deploy(ctx context.Context, req api.DeployRequest) (status api.DeploymentStatus, err error) {
	if req.With == "" && os.Getenv(throughHandlers) != "" {
		req.With = testDirectives
	}
	c, err := p.API()
	if err == nil {
		err = c.Call(ctx, http.MethodPost, api.PathDeployments, req, &status)
	}
	return status, err
}

// Remove removes a service over the API and cuts off what is left of its traffic.
func (p *Proxy) Remove(ctx context.Context, service string) error {
	c, err := p.API()
	if err != nil {
		return err
	}
	var removal api.Removal
	return c.Call(ctx, http.MethodDelete, api.ServicePath(service)+"?drain_timeout=1ms&stream_timeout=0s", nil, &removal)
}

// LockedBuffer is a buffer that can be read while a process writes to it.
type LockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *LockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *LockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Example is a running sample application.
type Example struct {
	Name string
	Addr string
	cmd  *exec.Cmd
}

// StartExample starts the sample application on a free port and returns when it
// listens.
func StartExample(name, version string, args ...string) (*Example, error) {
	bin, err := ExampleBinary()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	e := &Example{Name: name, Addr: fmt.Sprintf("127.0.0.1:%d", port)}
	e.cmd = exec.Command(bin, append([]string{"--addr", e.Addr, "--name", name, "--version", version}, args...)...)
	stderr, err := e.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(stderr)
	first, _ := lines.ReadString('\n')
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	if first == "" {
		return nil, fmt.Errorf("the sample application ended: %w", e.cmd.Wait())
	}
	return e, nil
}

// Signal sends the application a signal.
func (e *Example) Signal(s os.Signal) error { return e.cmd.Process.Signal(s) }

// Stop ends the application.
func (e *Example) Stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	_ = e.cmd.Wait()
}
