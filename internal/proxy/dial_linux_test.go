package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// listenDeaf returns the address of a target that neither takes connections nor refuses them: the queue of its socket is full.
func listenDeaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	local, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", local.(*syscall.SockaddrInet4).Port)
	for range 100 {
		c, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue is never full")
	return ""
}

// Requests that wait for a connection to a release that is replaced are served by the next one, and hold up no deployment, also if
// their client has gone in the middle of a body.
func TestRequestsForATargetThatHangsGoToTheNextRelease(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		request string
		leaves  bool
		want    string
	}{
		"GET":                    {"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n", false, "next"},
		"POST":                   {"POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", false, "next"},
		"the client has gone":    {"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", true, ""},
		"the body is incomplete": {"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nabc", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			e.deploy(api.DeployRequest{Service: "app", Targets: []string{listenDeaf(t)}, Force: true})
			conn, r := e.dial()
			if _, err := io.WriteString(conn, tc.request); err != nil {
				t.Fatal(err)
			}
			testkit.WaitFor(t, "the request to be on its way", func() bool {
				s, err := e.Service("app")
				return err == nil && s.Active.Requests == 1
			})
			if tc.leaves {
				conn.Close()
			}
			began := time.Now()
			e.deploy(requestFor("app", testkit.StartApp(t, "next")))
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the deployment took %s", took)
			}
			if tc.want != "" {
				if answer, err := io.ReadAll(r); err != nil || !bytes.HasSuffix(answer, []byte("next")) {
					t.Errorf("got %q, %v", answer, err)
				}
			}
		})
	}
}
