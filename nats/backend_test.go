package nats

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

// ownNATS starts a NATS as a user has one, and returns its address.
func ownNATS(t *testing.T) string {
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "u", Password: "p@ss",
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return "nats://u:p%40ss@" + s.Addr().String()
}

// open opens a backend, as the program does.
func open(t *testing.T, config Fleet, name, dir string) fleet.Backend {
	t.Helper()
	if err := config.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	b, stop, err := config.Open(name, dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return b
}

// inOwnNATS returns what opens backends in a new bucket of one NATS.
func inOwnNATS(t *testing.T, address string) func(t *testing.T) fleet.Backend {
	bucket := strings.Trim(fmt.Sprint(time.Now().UnixNano()), "-")
	return func(t *testing.T) fleet.Backend { return open(t, Fleet{URL: address + "/" + bucket}, "proxy", "") }
}

// servers are those of a fleet that runs NATS by itself.
type servers struct {
	config Fleet
	addrs  []string
	dirs   []string
}

// newServers returns what three proxies need to run servers on ports that are free.
func newServers(t *testing.T, n int) *servers {
	s := new(servers)
	for len(s.addrs) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		if port > 65535-clusterOffset {
			continue
		}
		other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+clusterOffset))
		if err != nil {
			continue
		}
		defer other.Close()
		s.addrs, s.dirs = append(s.addrs, l.Addr().String()), append(s.dirs, t.TempDir())
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("s", minSecret)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.config = Fleet{URL: "nats://" + strings.Join(s.addrs, ","), SecretFile: secret}
	return s
}

// open opens the backend of one of the proxies that run servers.
func (s *servers) open(t *testing.T, i int) fleet.Backend {
	config := s.config
	config.Server = s.addrs[i]
	return open(t, config, fmt.Sprintf("proxy-%d", i+1), s.dirs[i])
}

// next returns what opens the backend of the next proxy, of which the first ones run servers.
func (s *servers) next() func(t *testing.T) fleet.Backend {
	var n atomic.Int32
	return func(t *testing.T) fleet.Backend {
		if i := int(n.Add(1)) - 1; i < len(s.addrs) {
			return s.open(t, i)
		}
		return open(t, s.config, "client", "")
	}
}

func TestBackendInNATSKeepsWhatBackendsPromise(t *testing.T) {
	fleettest.Conform(t, inOwnNATS(t, ownNATS(t)))
}

func TestProxiesDecideTogetherByNATS(t *testing.T) {
	address := ownNATS(t)
	t.Run("EveryOperation", func(t *testing.T) { fleettest.EveryOperation(t, 5, inOwnNATS(t, address)) })
	t.Run("Rivals", func(t *testing.T) { fleettest.Rivals(t, inOwnNATS(t, address)) })
	t.Run("Absence", func(t *testing.T) { fleettest.Absence(t, inOwnNATS(t, address)) })
	t.Run("LostAnswer", func(t *testing.T) { fleettest.LostAnswer(t, inOwnNATS(t, address)) })
}
