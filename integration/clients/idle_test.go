package clients

import (
	"fmt"
	"testing"
	"time"
)

// Trap 67: a WebSocket on which nobody speaks is no client that stalls, whoever sets
// the timers.
func TestIdleWebSocketOutlivesTheClientTimeout(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	ownTimers := func(s *server) {
		site := func(port int) object {
			return object{
				"listen": []any{fmt.Sprintf("127.0.0.1:%d", port)}, "automatic_https": object{"disable": true},
				"read_idle_timeout": timeout.String(), "write_idle_timeout": timeout.String(),
			}
		}
		s.config["apps"].(object)["http"] = object{"servers": object{"http": site(s.HTTPPort), "https": site(s.HTTPSPort)}}
	}
	for name, configure := range map[string]func(*server){"ours": nil, "the server's": ownTimers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, configure, "--client-timeout", timeout.String())
			eachProtocol(t, func(t *testing.T, protocol string) {
				x := newSite(t, s, startEcho(t, "app").addr())
				ws, err := x.client(t, protocol).dialWebSocket(t, "/ws")
				must(t, err)
				idle := time.NewTimer(3 * timeout)
				defer idle.Stop()
				<-idle.C
				if got, err := echo(ws, "hello"); got != "app hello" || err != nil {
					t.Errorf("after %s without a word: %q, %v", 3*timeout, got, err)
				}
			})
		})
	}
}
