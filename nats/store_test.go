package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

// ownNATS starts a NATS as a user has one, and returns its address.
func ownNATS(t *testing.T) string {
	return "nats://u:p%40ss@" + startNATS(t, natsserver.RANDOM_PORT, "p@ss").Addr().String()
}

// startNATS starts a NATS whose user u has a password.
func startNATS(t *testing.T, port int, password string) *natsserver.Server {
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "u", Password: password,
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
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
	opened := 0
	return func(t *testing.T) fleet.Store {
		opened++ // each has a connection of its own
		return open(t, Fleet{Connection{URL: address}}, fmt.Sprintf("proxy-%d", opened), "")
	}
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
	s.config = Fleet{Connection{URL: "nats://" + strings.Join(s.addrs, ","), SecretFile: secret}}
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
		"Overtaken":      func(t *testing.T, open opens) { fleettest.Overtaken(t, fleettest.ByNetwork, open) },
		"Imported":       func(t *testing.T, open opens) { fleettest.Imported(t, fleettest.ByNetwork, open) },
		"LostAnswer":     func(t *testing.T, open opens) { fleettest.LostAnswer(t, fleettest.ByNetwork, open) },
		"Canary":         func(t *testing.T, open opens) { fleettest.Canary(t, fleettest.ByNetwork, open) },
		"Verdict":        func(t *testing.T, open opens) { fleettest.Verdict(t, fleettest.ByNetwork, open) },
		"Shares":         func(t *testing.T, open opens) { fleettest.Shares(t, fleettest.ByNetwork, open) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait more than they compute
			test(t, inOwnNATS(address+"/"+name))
		})
	}
}

func TestNATSThatHasLostItsDataGetsThemBack(t *testing.T) {
	address := ownNATS(t)
	nc, err := nats.Connect(address)
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

// A config that is replaced gives up its store, while the next one, and the storage, go on with the connection.
func TestStoreThatIsClosedHearsNothingMore(t *testing.T) {
	config := Fleet{Connection{URL: ownNATS(t)}}
	open(t, config, "proxy-1", "") // keeps the connection
	s, stop, err := config.Open("proxy-1", "", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Propose(t.Context(), fleet.Plan{ID: "a", Service: "web"}); err != nil {
		t.Fatal(err)
	}
	c, err := s.(*store).connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inbox := s.(*store).inbox.Subject
	stop()
	if c.nc.IsClosed() {
		t.Fatal("the connection is closed")
	}
	if _, err := c.nc.Request(inbox, []byte("{}"), 10*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("an acknowledgement to a store that is closed ends with %v", err)
	}
	if n := c.nc.NumSubscriptions(); n > 1 { // that of requests
		t.Errorf("there are %d subscriptions", n)
	}
}

// NATS does not tell a client that its consumer has gone with a server.
func TestConsumerThatIsGoneIsReplaced(t *testing.T) {
	opens := inOwnNATS(ownNATS(t))
	reader, writer := opens(t).(*store), opens(t)
	if _, err := reader.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := reader.connect(t.Context())
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

// deposed answers as a leader does that has been cut off, and has not heard of the next one: with what it has.
type deposed struct {
	jetstream.JetStream
	info *jetstream.StreamInfo
}

func (d deposed) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := d.JetStream.Stream(ctx, name)
	return deposedStream{s, d.info}, err
}

type deposedStream struct {
	jetstream.Stream
	info *jetstream.StreamInfo
}

func (d deposedStream) CachedInfo() *jetstream.StreamInfo { return d.info }

// A proxy that was cut off, together with the server that led, reads what the others have decided meanwhile, and not
// what that server still takes for the newest.
func TestLeaderThatWasCutOffIsNotBelieved(t *testing.T) {
	for what, shake := range map[string]func(*testing.T, *store, *connection){
		"after a failure": func(t *testing.T, b *store, _ *connection) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := b.Beat(ctx, fleet.Lease{Name: "proxy-1"}); err == nil {
				t.Fatal("a beat without time is written")
			}
		},
		"after a long time": func(_ *testing.T, _ *store, c *connection) {
			c.decisions.mu.Lock()
			defer c.decisions.mu.Unlock()
			c.decisions.synced = c.decisions.synced.Add(-trust)
		},
	} {
		t.Run(what, func(t *testing.T) {
			opens := inOwnNATS(ownNATS(t))
			reader, writer := opens(t).(*store), opens(t)
			if _, err := reader.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, err := reader.connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			js := c.decisions.js
			stream, err := js.Stream(t.Context(), c.decisions.stream())
			if err != nil {
				t.Fatal(err)
			}
			c.decisions.js = deposed{js, stream.CachedInfo()}
			propose := func(id string) {
				t.Helper()
				for name := range stream.ConsumerNames(t.Context()).Name() {
					if err := stream.DeleteConsumer(t.Context(), name); err != nil { // it sends nothing new either
						t.Fatal(err)
					}
				}
				if _, err := writer.Propose(t.Context(), fleet.Plan{ID: id, Service: "web"}); err != nil {
					t.Fatal(err)
				}
			}
			look := func(want string) {
				t.Helper()
				s, err := reader.Look(t.Context())
				if p, ok := s.Plan("web"); err != nil || !ok || p.ID != want {
					t.Errorf("%+v, %v", s, err)
				}
			}
			propose("a")
			shake(t, reader, c)
			look("a")
			propose("b") // and that server has still not heard of the next leader
			look("b")
		})
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
	if api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "max_payload") || time.Since(began) > fleet.DefaultPatience {
		t.Errorf("%.300v, after %s", err, time.Since(began))
	}
}

// The names of services that were removed stay. When NATS takes no more of them, that is said, and not that it does not answer.
func TestListOfServicesThatNATSDoesNotTakeIsRefused(t *testing.T) {
	b := inOwnNATS(ownNATS(t))(t).(*store)
	c, err := b.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	removal := fleet.Plan{ID: "removal", Service: "preview"}
	if _, err := c.decisions.put(t.Context(), prefixPlan+removal.ID, marshal(removal)); err != nil {
		t.Fatal(err)
	}
	full := index{Revision: 1, Services: make(map[string]cell)}
	size := len(marshal(cell{Decision: &reference{removal.ID, 1}})) + len(`"preview-00000":,`)
	for i := range (1<<20 - headroom - 100) / size {
		full.Services[fmt.Sprintf("preview-%05d", i)] = cell{Decision: &reference{removal.ID, 1}}
	}
	t.Logf("%d names", len(full.Services))
	if _, err := c.decisions.put(t.Context(), keyIndex, marshal(full)); err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("n", 200)
	if _, err := b.Propose(t.Context(), fleet.Plan{ID: "p", Service: name}); api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), "max_payload") {
		t.Error(err)
	}
	if s, err := b.Look(t.Context()); err != nil || len(s.Decisions) != len(full.Services) {
		t.Errorf("%d of %d, %v", len(s.Decisions), len(full.Services), err)
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
