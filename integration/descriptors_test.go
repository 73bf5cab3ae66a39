package integration

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// startStarved returns a proxy that may have few descriptors, and the number.
func startStarved(t *testing.T) (*rig.Proxy, int) {
	t.Helper()
	const most = 200
	if _, err := exec.LookPath("prlimit"); err != nil {
		t.Skip("skipped: prlimit is not installed, so the limit cannot be lowered")
	}
	p := newProxy(t)
	p.Wrap = []string{"prlimit", fmt.Sprintf("--nofile=%d:%d", most, most)}
	must(t, p.Start())
	return p, most
}

// Whoever is to find out why nobody gets through needs the admin endpoint most of all when
// the descriptors are used up: by clients that hold connections, or by requests that hang.
func TestAdminEndpointAnswersWhenTheDescriptorsAreUsedUp(t *testing.T) {
	for name, path := range map[string]string{"idle clients": "/", "hanging requests": "/hang"} {
		t.Run(name, func(t *testing.T) {
			p, most := startStarved(t)
			hung := make(chan struct{})
			a := startApp(t, "a", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hang" {
					<-hung
				}
			})
			deploy(t, p, api.DeployRequest{Service: "web", Targets: []string{a.addr()}})
			var clients []net.Conn
			closeAll := func() {
				for _, c := range clients {
					_ = c.Close()
				}
			}
			defer closeAll()
			for range 2 * most {
				c, err := net.DialTimeout("tcp", p.Addr(), patience)
				must(t, err)
				clients = append(clients, c)
				_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
				must(t, err)
			}
			waitFor(t, "a client to have to wait", func() bool { return strings.Contains(p.Log(), "no file descriptors left") })
			began := time.Now()
			for range 20 { // one might have luck
				if r := run(t, p, "list"); r.Code != 0 || !strings.Contains(r.Stdout, "web") {
					t.Fatalf("list ends with %d %s", r.Code, r.Stderr)
				}
			}
			if r := run(t, p, "deploy", a.addr(), "--service", "web", "--drain-timeout", "0s"); r.Code != 0 && r.Code != 7 {
				t.Errorf("a deploy ends with %d %s", r.Code, r.Stderr)
			}
			t.Logf("the commands took %s", time.Since(began))
			closeAll()
			close(hung)
			waitFor(t, "clients to get through again", func() bool {
				resp, err := (&http.Client{Timeout: time.Second}).Get(p.URL() + "/")
				if err != nil {
					return false
				}
				_ = resp.Body.Close()
				return resp.StatusCode == http.StatusOK
			})
		})
	}
}
