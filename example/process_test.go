package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain turns the test binary into the application when asked to, for the
// tests that need a process of its own to send signals to.
func TestMain(m *testing.M) {
	if os.Getenv("EXAMPLE_TEST_AS_APP") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is the running application.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *bufio.Scanner
	http *http.Client // goes to its Unix socket, whatever the URL's host
	sock string
}

// startProcess starts the application as web-1 v7 on a Unix socket.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // t.TempDir is too long a path for a socket on some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sock := filepath.Join(dir, "app.sock")

	cmd := exec.Command(os.Args[0], append([]string{"--addr", "unix/" + sock, "--name", "web-1", "--version", "v7"}, args...)...)
	// The race detector would have every process pause for a second at its end.
	cmd.Env = append(os.Environ(), "EXAMPLE_TEST_AS_APP=1", "GORACE=atexit_sleep_ms=0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sock)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &process{t: t, cmd: cmd, log: bufio.NewScanner(stderr), http: &http.Client{Transport: transport}, sock: sock}
}

// awaitLog returns once the process has logged a line with this text.
func (p *process) awaitLog(text string) {
	p.t.Helper()
	for p.log.Scan() {
		if strings.Contains(p.log.Text(), text) {
			return
		}
	}
	p.t.Fatalf("the log ended without %q", text)
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// expectExit waits for the process to end with this code.
func (p *process) expectExit(code int) {
	p.t.Helper()
	for p.log.Scan() { // Wait closes the pipe, so read it to its end first
		p.t.Log(p.log.Text())
	}
	err := p.cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%s, want exit status %d", p.cmd.ProcessState, code)
	}
}

func TestTerminationFinishesWhatIsRunning(t *testing.T) {
	p := startProcess(t)
	p.awaitLog("listening on")

	events := openEvents(t, p.http, "http://app/sse?every=1m", "")
	readEvent(t, events)
	ws := openWebSocket(t, "unix", p.sock)
	upload := startUpload(t, p.sock)

	p.signal(syscall.SIGTERM)
	p.awaitLog("stopping")

	if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
		t.Errorf("events: got %q and %v, want a clean end", rest, err)
	}
	ws.expect(opClose, string(closeCode(closeGoingAway).payload()))
	ws.send(true, opClose, string(closeCode(closeGoingAway).payload()))
	if resp := upload(); resp.StatusCode != http.StatusOK {
		t.Errorf("upload: %s", resp.Status)
	}
	p.expectExit(0)
}

// startUpload sends the head of an upload and returns when it is being read;
// calling the result sends the body and returns the response.
func startUpload(t *testing.T, sock string) func() *http.Response {
	t.Helper()
	conn, err := net.Dial("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "POST /upload HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	in := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("waiting for 100 Continue: %v %v", resp, err)
	}
	return func() *http.Response {
		fmt.Fprint(conn, "body")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
}

func TestStopIsBounded(t *testing.T) {
	p := startProcess(t, "--stop-timeout", "50ms")
	p.awaitLog("listening on")
	startUpload(t, p.sock) // never finished
	p.signal(syscall.SIGTERM)
	p.expectExit(1)
}

func TestRefusingToStopKeepsServing(t *testing.T) {
	p := startProcess(t, "--refuse-stop")
	p.awaitLog("listening on")
	for range 2 {
		p.signal(syscall.SIGTERM)
		p.awaitLog("refusing to stop")
	}
	resp, err := p.http.Get("http://app/up")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	p.http.CloseIdleConnections()
	p.signal(os.Interrupt)
	p.expectExit(0)
}

func TestListenDelayMeansNotListening(t *testing.T) {
	p := startProcess(t, "--listen-delay", "1h")
	p.awaitLog("not listening")
	if conn, err := net.Dial("unix", p.sock); err == nil {
		conn.Close()
		t.Error("it listens")
	}
	p.signal(syscall.SIGTERM)
	p.expectExit(0)
}

func TestSocketOfAKilledProcessIsReplaced(t *testing.T) {
	p := startProcess(t)
	p.awaitLog("listening on")

	if ln, err := listen("unix/" + p.sock); err == nil {
		ln.Close()
		t.Fatal("took the socket of a live process")
	}

	p.signal(syscall.SIGKILL)
	p.expectExit(-1)
	ln, err := listen("unix/" + p.sock)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

func TestCleartextHTTP2IsSpoken(t *testing.T) {
	p := startProcess(t)
	p.awaitLog("listening on")
	transport := p.http.Transport.(*http.Transport)
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)

	resp, err := p.http.Get("http://app/up")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Errorf("got %s %s", resp.Proto, resp.Status)
	}
}
