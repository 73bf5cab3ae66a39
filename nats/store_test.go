package nats

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	natsclient "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
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

// open opens a store, as the program does.
func open(t *testing.T, config Fleet, name, dir string) fleet.Store {
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

// inOwnNATS returns what opens stores in one NATS.
func inOwnNATS(address string) func(t *testing.T) fleet.Store {
	return func(t *testing.T) fleet.Store { return open(t, Fleet{URL: address}, "proxy", "") }
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

// name returns that of one of the proxies that run servers.
func (s *servers) name(i int) string { return fmt.Sprintf("proxy-%d", i+1) }

// open opens the store of one of the proxies that run servers.
func (s *servers) open(t *testing.T, i int) fleet.Store {
	config := s.config
	config.Server = s.addrs[i]
	return open(t, config, s.name(i), s.dirs[i])
}

func TestStoreInNATSKeepsWhatStoresPromise(t *testing.T) {
	fleettest.Conform(t, inOwnNATS(ownNATS(t)))
}

func TestProxiesDecideTogetherByNATS(t *testing.T) {
	address := ownNATS(t)
	type opens = func(t *testing.T) fleet.Store
	for name, test := range map[string]func(t *testing.T, open opens){
		"EveryOperation": func(t *testing.T, open opens) { fleettest.EveryOperation(t, 5, fleettest.ByNetwork, open) },
		"Rivals":         func(t *testing.T, open opens) { fleettest.Rivals(t, fleettest.ByNetwork, open) },
		"Absence":        func(t *testing.T, open opens) { fleettest.Absence(t, fleettest.ByNetwork, open) },
		"LostAnswer":     func(t *testing.T, open opens) { fleettest.LostAnswer(t, fleettest.ByNetwork, open) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait more than they compute
			test(t, inOwnNATS(address+"/"+name))
		})
	}
}

func TestNATSThatHasLostItsDataGetsThemBack(t *testing.T) {
	address := ownNATS(t)
	nc, err := natsclient.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Restored(t, fleettest.ByNetwork, inOwnNATS(address+"/lost"), func() {
		if err := js.DeleteKeyValue(t.Context(), "lost"); err != nil {
			t.Fatal(err)
		}
	})
}

// NATS does not tell a client that its consumer has gone with a server.
func TestConsumerThatIsGoneIsReplaced(t *testing.T) {
	opens := inOwnNATS(ownNATS(t))
	reader, writer := opens(t).(*store), opens(t)
	if _, err := reader.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := reader.link.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := c.decisions.js.Stream(t.Context(), c.decisions.stream())
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := writer.Propose(t.Context(), fleet.Plan{ID: "a", Service: "web"}); err != nil {
		t.Fatal(err)
	}
	s, err := reader.Look(t.Context())
	if p, ok := s.Plan("web"); err != nil || !ok || p.ID != "a" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestChangeThatNATSDoesNotTakeIsRefusedAtOnce(t *testing.T) {
	n := fleettest.Start(t, inOwnNATS(ownNATS(t))(t), "proxy-1", fleettest.ByNetwork)
	began := time.Now()
	hosts, prefixes := make([]string, 1000), make([]string, 50) // some 4 MB, and NATS takes 1 MB by default
	for i := range hosts {
		hosts[i] = fmt.Sprintf("a-name-that-is-rather-long-%d.example.com", i)
	}
	for i := range prefixes {
		prefixes[i] = fmt.Sprintf("/%d", i)
	}
	d, err := n.Engine.Deploy(api.DeployRequest{Service: "web", Targets: []string{fleettest.App(t)}, Hosts: hosts, PathPrefixes: prefixes}.Patch())
	if err == nil {
		_, err = d.Wait(t.Context())
	}
	if api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "max_payload") || time.Since(began) > 5*time.Second {
		t.Errorf("%.300v, after %s", err, time.Since(began))
	}
}

func TestServerWhosePortIsTakenIsStartedWhenItIsFree(t *testing.T) {
	s := newServers(t, 1)
	other, err := net.Listen("tcp", s.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	b := s.open(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := b.Look(ctx); err == nil {
		t.Fatal("there is a server")
	}
	other.Close()
	fleettest.Await(t, "there is a server", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := b.Look(ctx)
		return err == nil
	})
}
