package integration

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// Traps 9 and 11: a WebSocket is closed with 1001, not cut, by a deploy and by a
// stop.
func TestStreamsAreClosedPolitely(t *testing.T) {
	example := startExample(t, "web")
	req := api.DeployRequest{Targets: []string{example.Addr}, StreamTimeout: duration(500 * time.Millisecond)}

	for name, end := range map[string]func(t *testing.T, p *rig.Proxy){
		"deploy": func(t *testing.T, p *rig.Proxy) { deploy(t, p, req) },
		"remove": func(t *testing.T, p *rig.Proxy) { run(t, p, "remove", "default", "--stream-timeout", "300ms") },
		"stop": func(t *testing.T, p *rig.Proxy) {
			begin := time.Now()
			code, err := p.Stop(patience)
			if err != nil || code != 0 || time.Since(begin) > 12*time.Second {
				t.Errorf("stopped with %d (%v) after %s", code, err, time.Since(begin))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t)
			deploy(t, p, req)
			ws := openWebSocket(t, p, p.Addr())
			events, err := http.Get(p.URL() + "/sse?every=20ms")
			must(t, err)
			defer events.Body.Close()
			stream := bufio.NewReader(events.Body)
			_, err = stream.ReadString('\n')
			must(t, err)

			closed := make(chan error, 1)
			go func() {
				for {
					if err := ws.Send("hello"); err != nil {
						closed <- err
						return
					}
					if _, err := ws.Receive(); err != nil {
						closed <- err
						return
					}
				}
			}()
			rest := make(chan string, 1)
			go func() {
				b, err := io.ReadAll(stream)
				if err != nil {
					b = append(b, err.Error()...)
				}
				rest <- string(b)
			}()
			end(t, p)
			err = arrive(t, "the end of the WebSocket", closed)
			if c, ok := errors.AsType[*rig.CloseError](err); !ok || c.Code != 1001 {
				t.Errorf("the WebSocket ended with %v", err)
			}
			if got := arrive(t, "the end of the events", rest); !strings.HasSuffix(got, "\n\n") {
				t.Errorf("the event stream ended with %q", tail(got, 80))
			}
		})
	}
}

// Trap 12: a client that never finishes does not keep the proxy from stopping.
func TestStopEndsWithinItsBound(t *testing.T) {
	p := startProxy(t, "--grace-period", "1s")
	a, arrived, _ := slowApp(t, "a")
	deploy(t, p, to(a))
	conn := dial(t, p)
	_, err := io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	arrive(t, "the request that hangs", arrived)
	begin := time.Now()
	if _, err := p.Stop(15 * time.Second); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
}

// A request that is in flight when the proxy is told to stop gets its answer.
func TestStopFinishesRequests(t *testing.T) {
	p := startProxy(t)
	a, arrived, release := slowApp(t, "a")
	deploy(t, p, to(a))
	slow := inBackground(t, p.URL()+"/slow")
	arrive(t, "the slow request", arrived)
	must(t, p.Signal(syscall.SIGTERM))
	waitFor(t, "the stop to begin", func() bool { return strings.Contains(p.Log(), "shutting down") })
	close(release)
	if got := arrive(t, "the slow answer", slow); got != "200 a <nil>" {
		t.Errorf("the slow request got %q", got)
	}
}
