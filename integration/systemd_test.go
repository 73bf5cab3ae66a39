package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/parachute-proxy/parachute/integration/rig"
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

// manager is what systemd is to the proxy: it is told of things, and keeps descriptors.
type manager struct {
	t      *testing.T
	socket *net.UnixConn
}

// notification is a message to a manager, and who has sent it.
type notification struct {
	pid   int
	text  string
	files []*os.File
}

// manage has p be run by a manager.
func manage(t *testing.T, p *rig.Proxy) *manager {
	t.Helper()
	path := filepath.Join(p.Dir, "notify.sock")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { socket.Close() })
	raw, err := socket.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) }))
	must(t, err)
	p.Env = append(p.Env, "NOTIFY_SOCKET="+path)
	return &manager{t, socket}
}

// next returns the next message that contains a text.
func (m *manager) next(text string) notification {
	m.t.Helper()
	must(m.t, m.socket.SetReadDeadline(time.Now().Add(patience)))
	data, control := make([]byte, 4096), make([]byte, 4096)
	for {
		n, nControl, _, _, err := m.socket.ReadMsgUnix(data, control)
		if err != nil {
			m.t.Fatalf("waiting for %s: %v", text, err)
		}
		got := notification{text: string(data[:n])}
		messages, err := syscall.ParseSocketControlMessage(control[:nControl])
		must(m.t, err)
		for _, c := range messages {
			if peer, err := syscall.ParseUnixCredentials(&c); err == nil {
				got.pid = int(peer.Pid)
			}
			if fds, err := syscall.ParseUnixRights(&c); err == nil {
				for _, fd := range fds {
					got.files = append(got.files, os.NewFile(uintptr(fd), got.text))
				}
			}
		}
		if strings.Contains(got.text, text) {
			return got
		}
	}
}

// TestServiceManagerFollowsAnUpgrade: only the main process may say which one is next.
func TestServiceManagerFollowsAnUpgrade(t *testing.T) {
	p := newProxy(t)
	m := manage(t, p)
	must(t, p.Start())
	old := p.PID()
	if ready := m.next("READY=1"); ready.pid != old {
		t.Errorf("the process %d is ready, and %d was started", ready.pid, old)
	}
	u := upgrade(t, p)
	if main := m.next("MAINPID="); main.pid != old || main.text != "MAINPID="+itoa(u.To.PID) {
		t.Errorf("the process %d says %q, want %d to say that %d is the main process", main.pid, main.text, old, u.To.PID)
	}
	for ready := m.next("READY=1"); ready.pid != u.To.PID; ready = m.next("READY=1") {
		if ready.pid != old {
			t.Errorf("the process %d says that it is ready", ready.pid)
		}
	}
}

// TestConnectionsWaitDuringARestartWithAServiceManager that keeps the sockets: none is refused,
// and what is sent meanwhile is answered.
func TestConnectionsWaitDuringARestartWithAServiceManager(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("service managers pass sockets on Linux")
	}
	p := newProxy(t, "--https-port", "0")
	p.HTTPSPort = 0
	m := manage(t, p)
	p.Env = append(p.Env, "FDSTORE=32")
	must(t, p.Start())
	deploy(t, p, to(startApp(t, "a", nil)))
	stored := m.next("FDSTORE=1")
	_, name, _ := strings.Cut(stored.text, "FDNAME=")
	if len(stored.files) != 1 || strings.Contains(name, ":") {
		t.Fatalf("%q has %d descriptors", stored.text, len(stored.files))
	}
	// As systemd does it, with its own descriptor.
	p.Files = stored.files
	p.Wrap = []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}
	p.Env = append(p.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES="+name)
	for range 2 {
		_, err := p.Stop(patience)
		must(t, err)
		conn, err := net.Dial("tcp", p.Addr())
		must(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
		must(t, err)
		must(t, p.Start())
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Errorf("the request that came meanwhile gets %q, %v", answer, err)
		}
		conn.Close()
	}
}

// TestPacketsWaitDuringARestartWithAServiceManager: it keeps the socket for QUIC as well. A proxy that
// did not use it could not open another one.
func TestPacketsWaitDuringARestartWithAServiceManager(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("service managers pass sockets on Linux")
	}
	p := newProxy(t)
	m := manage(t, p)
	p.Env = append(p.Env, "FDSTORE=32")
	must(t, p.Start())
	target := deploySecured(t, p, startApp(t, "a", nil))
	var names []string
	for len(names) < 3 { // HTTP, HTTPS, and HTTPS over UDP
		stored := m.next("FDSTORE=1")
		_, name, _ := strings.Cut(stored.text, "FDNAME=")
		names, p.Files = append(names, name), append(p.Files, stored.files...)
	}
	if !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, ".udp/") }) {
		t.Fatalf("the manager keeps %s", names)
	}
	p.Wrap = []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}
	p.Env = append(p.Env, "LISTEN_FDS=3", "LISTEN_FDNAMES="+strings.Join(names, ":"))
	for range 2 {
		_, err := p.Stop(patience)
		must(t, err)
		dialed := make(chan error, 1)
		go func() {
			conn, err := quic.DialAddr(t.Context(), target.Secure, http3TLS(target), nil)
			if err == nil {
				_ = conn.CloseWithError(0, "")
			}
			dialed <- err
		}()
		must(t, p.Start())
		if err := <-dialed; err != nil {
			t.Errorf("the connection that was begun meanwhile: %v", err)
		}
	}
}

// TestSocketsOfAServiceManagerAreUsed: it may open them, so that the proxy needs no right to.
func TestSocketsOfAServiceManagerAreUsed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("service managers pass sockets on Linux")
	}
	p := newProxy(t)
	p.HTTPSPort = 0
	p.Args = append(p.Args, "--https-port", "0")
	l, err := net.Listen("tcp", p.Addr())
	must(t, err)
	file, err := l.(*net.TCPListener).File()
	must(t, err)
	defer file.Close()
	l.Close()
	p.Files = []*os.File{file}
	p.Wrap = []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}
	p.Env = append(p.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES=parachute.socket")
	must(t, p.Start())
	deploy(t, p, to(startApp(t, "a", nil)))
	if resp, _ := get(t, p, "app.test", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("it answers %d", resp.StatusCode)
	}
	upgrade(t, p)
	if resp, _ := get(t, p, "app.test", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("after an upgrade, it answers %d", resp.StatusCode)
	}
}

// TestSocketsOfTheUnitAreThoseOfTheProxy: it uses all that docs/parachute.socket has systemd open, here on
// other ports.
func TestSocketsOfTheUnitAreThoseOfTheProxy(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("service managers pass sockets on Linux")
	}
	unit, err := os.ReadFile("../docs/parachute.socket")
	must(t, err)
	p := newProxy(t, "--bind", "")
	ports := map[string]int{"80": p.HTTPPort, "443": p.HTTPSPort}
	for _, listen := range regexp.MustCompile(`(?m)^Listen(Stream|Datagram)=(\d+)$`).FindAllStringSubmatch(string(unit), -1) {
		at := fmt.Sprintf("[::]:%d", ports[listen[2]]) // for both versions of IP, as systemd does it
		var socket interface{ File() (*os.File, error) }
		if listen[1] == "Stream" {
			l, err := net.Listen("tcp", at)
			must(t, err)
			defer l.Close()
			socket = l.(*net.TCPListener)
		} else {
			l, err := net.ListenPacket("udp", at)
			must(t, err)
			defer l.Close()
			socket = l.(*net.UDPConn)
		}
		file, err := socket.File()
		must(t, err)
		defer file.Close()
		p.Files = append(p.Files, file)
	}
	if len(p.Files) != 3 {
		t.Fatalf("the unit opens %d sockets", len(p.Files))
	}
	p.Wrap = []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}
	p.Env = append(p.Env, "LISTEN_FDS=3", "LISTEN_FDNAMES=parachute.socket:parachute.socket:parachute.socket")
	must(t, p.Start()) // which fails if it has to open one that is there
	target := deploySecured(t, p, startApp(t, "a", nil))
	waitFor(t, "HTTP/3", func() bool {
		conn, err := dialHTTP3(target)
		if err == nil {
			_ = conn.CloseWithError(0, "")
		}
		return err == nil
	})
	if instance, err := httpGet(p, plainHost); err != nil || instance != "a" {
		t.Errorf("%q serves, %v", instance, err)
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
