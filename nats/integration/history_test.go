package integration

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/nats"
)

// historyTime is an environment variable: for how long the history of a fleet is made, such as 10m. Default: 20s.
const historyTime = "PARACHUTE_TEST_HISTORY"

// historySeed is an environment variable with the seed of an earlier history.
const historySeed = "PARACHUTE_TEST_SEED"

var historyServices = []string{"one", "two", "three"}

// history is what happened to a fleet, and what happens to it.
type history struct {
	t       *testing.T
	began   time.Time
	proxies []*rig.Proxy
	// gates are between the store and the proxies that run no server of it, by the proxy.
	gates map[int][]*gate
	// down are the proxies that are dead or paused.
	down []atomic.Bool
	// labels counts the releases.
	labels atomic.Int64

	// mu guards what follows.
	mu  sync.Mutex
	ops []porcupine.Operation
	// failed counts the calls that have had no effect, by what was said.
	failed map[api.Code]int
}

// unaffected are the codes of errors that say that a call has had no effect.
var unaffected = []api.Code{
	api.CodeSuperseded, api.CodeFleet, api.CodeNotFound, api.CodeRouteConflict, api.CodeNotHealthy, api.CodeInvalid, api.CodeStopping,
}

// record makes a call, and writes down when and how it went.
func (h *history) record(client int, c call, do func() (register, error)) error {
	began := time.Since(h.began)
	read, err := do()
	ended := time.Since(h.began)
	code := api.ErrorCode(err)
	if err != nil && (c.what == "read" || slices.Contains(unaffected, code)) {
		h.mu.Lock()
		h.failed[code]++
		h.mu.Unlock()
		return err
	}
	op := porcupine.Operation{ClientId: client, Input: c, Call: int64(began), Output: result{read: read}, Return: int64(ended)}
	if err != nil && code != api.CodeFleetIncomplete { // which is decided
		op.Output, op.Return = result{unknown: true}, math.MaxInt64
	}
	h.mu.Lock()
	h.ops = append(h.ops, op)
	h.mu.Unlock()
	return err
}

// operate makes calls to one proxy, one after the other, until ctx ends.
func (h *history) operate(ctx context.Context, client int, random *rand.Rand, target string) {
	p := h.proxies[client]
	for ctx.Err() == nil {
		time.Sleep(time.Duration(10+random.IntN(100)) * time.Millisecond)
		if h.down[client].Load() {
			continue
		}
		c := call{service: historyServices[random.IntN(len(historyServices))], label: fmt.Sprintf("r%d", h.labels.Add(1))}
		calling, cancel := context.WithTimeout(context.Background(), 25*time.Second)
		api, err := p.API()
		must(h.t, err)
		c.what = []string{"deploy", "deploy", "deploy", "rollback", "pause", "resume", "remove"}[random.IntN(7)]
		err = h.record(client, c, func() (none register, err error) { return none, ask(calling, api, c, target) })
		cancel()
		if err != nil {
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// caller calls an API.
type caller interface {
	CallUntilDone(ctx context.Context, method, path string, body, out any) error
}

// ask makes a call to a proxy.
func ask(ctx context.Context, to caller, c call, target string) error {
	method, path, note := http.MethodPost, "", api.Note{Label: c.label}
	var body any
	switch c.what {
	case "deploy":
		path, body = api.PathDeployments, api.DeployRequest{Service: c.service, Targets: []string{target}, Hosts: []string{c.service + ".test"}, Note: &note}
	case "rollback":
		path, body = api.RollbackPath(c.service), api.RollbackRequest{Note: note}
	case "pause":
		path, body = api.PausePath(c.service), api.HoldRequest{}
	case "resume":
		path, body = api.ResumePath(c.service), struct{}{}
	case "remove":
		method, path = http.MethodDelete, api.ServicePath(c.service)
	}
	return to.CallUntilDone(ctx, method, path, body, new(json.RawMessage))
}

// look reads what the fleet has decided of a service.
func look(ctx context.Context, store fleet.Store, service string) (r register, err error) {
	state, err := store.Look(ctx)
	if err != nil {
		return r, err
	}
	d, ok := state.Decision(service)
	if !ok || len(d.Document) == 0 {
		return r, nil
	}
	var doc struct {
		Note api.Note
		Hold *api.Hold
	}
	err = json.Unmarshal(d.Document, &doc)
	return register{doc.Note.Label, doc.Hold != nil}, err
}

// served returns what a proxy serves.
func served(p *rig.Proxy, service string) (r register, err error) {
	all, err := p.Services()
	for _, s := range all {
		if s.Name == service && s.Active != nil {
			r = register{s.Active.Note.Label, s.Hold != nil}
		}
	}
	return r, err
}

// pause waits for a random time until the next fault. It returns false if ctx ends first.
func pause(ctx context.Context, random *rand.Rand, least, most time.Duration) bool {
	select {
	case <-time.After(least + time.Duration(random.Int64N(int64(most-least)))):
		return true
	case <-ctx.Done():
		return false
	}
}

// fault has something happen to a proxy, and returns when that is over.
func (h *history) fault(random *rand.Rand, victims ...int) {
	length := time.Duration(500+random.IntN(4500)) * time.Millisecond
	kinds := make(map[int]int)
	for _, i := range victims {
		p := h.proxies[i]
		if kinds[i] = random.IntN(3); h.gates[i] == nil {
			kinds[i] = 1 + random.IntN(2)
		}
		switch kinds[i] {
		case 0:
			h.t.Logf("%5.1fs: proxy-%d is cut off for %s", time.Since(h.began).Seconds(), i+1, length)
			for _, g := range h.gates[i] {
				g.setShut(true)
			}
		case 1:
			h.t.Logf("%5.1fs: proxy-%d is paused for %s", time.Since(h.began).Seconds(), i+1, length)
			h.down[i].Store(true)
			must(h.t, p.Signal(syscall.SIGSTOP))
		default:
			h.t.Logf("%5.1fs: proxy-%d is killed for %s", time.Since(h.began).Seconds(), i+1, length)
			h.down[i].Store(true)
			p.Kill()
		}
	}
	time.Sleep(length)
	for _, i := range victims {
		p := h.proxies[i]
		switch kinds[i] {
		case 0:
			for _, g := range h.gates[i] {
				g.setShut(false)
			}
		case 1:
			must(h.t, p.Signal(syscall.SIGCONT))
		default:
			must(h.t, p.Start())
		}
		h.down[i].Store(false)
	}
}

// Five proxies, of which three run the servers of their fleet, are asked for changes at once, while they are killed,
// paused and cut off. Whatever was answered, what they have decided is as if each change had happened in one step,
// between its question and its answer.
func TestHistoryOfAFleetIsLinearizable(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv(historyTime), "20s"))
	must(t, err)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv(historySeed), strconv.FormatUint(rand.Uint64(), 10)), 10, 64)
	must(t, err)
	t.Logf("%s=%d repeats the choices", historySeed, seed)

	h := &history{t: t, proxies: newFleet(t), gates: make(map[int][]*gate), down: make([]atomic.Bool, 5), failed: make(map[api.Code]int)}
	config := nats.Fleet{Connection: nats.Connection{URL: flagOf(h.proxies[0], "--fleet"), SecretFile: flagOf(h.proxies[0], "--fleet-secret-file")}}
	for i := 3; i < 5; i++ {
		p := rigtest.NewProxy(t)
		p.Program = h.proxies[0].Program
		var addrs []string
		for _, addr := range strings.Split(strings.TrimPrefix(config.URL, "nats://"), ",") {
			h.gates[i] = append(h.gates[i], newGate(t, addr))
			addrs = append(addrs, h.gates[i][len(h.gates[i])-1].Addr().String())
		}
		p.Args = []string{
			"--fleet", "nats://" + strings.Join(addrs, ","), "--fleet-secret-file", config.SecretFile,
			"--fleet-name", fmt.Sprintf("proxy-%d", i+1), "--fleet-dir", filepath.Join(p.Dir, "fleet"), "--ping-path", "/ping",
		}
		h.proxies = append(h.proxies, p)
	}
	for _, p := range h.proxies {
		p.Args = append(p.Args, "--fleet-missing-after", "6s")
		must(t, p.Start())
	}
	awaitLive(t, h.proxies[0], 5)
	must(t, config.Provision(caddy.Context{}))
	store, stop, err := config.Open("reader", t.TempDir(), zap.NewNop())
	must(t, err)
	t.Cleanup(stop)

	app := startExample(t, "app")
	h.began = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var all sync.WaitGroup
	for i := range h.proxies {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() { h.operate(ctx, i, random, app.Addr) })
	}
	all.Go(func() { // reads
		random := rand.New(rand.NewPCG(seed, 10))
		for ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			h.read(len(h.proxies), call{service: historyServices[random.IntN(len(historyServices))], what: "read"}, store)
		}
	})
	all.Go(func() {
		random := rand.New(rand.NewPCG(seed, 11))
		for i := 0; pause(ctx, random, 4*time.Second, 8*time.Second); i++ {
			// Of the proxies that run servers, each has its turn, and so has the one that leads.
			victims := []int{i % 3}
			switch random.IntN(6) {
			case 0: // there is no majority
				victims = append(victims, (i+1)%3)
			case 1:
				victims = append(victims, 3+random.IntN(2))
			case 2, 3:
				victims = []int{3 + random.IntN(2)}
			}
			h.fault(random, victims...)
		}
	})
	all.Wait()

	for _, p := range h.proxies {
		awaitLive(t, p, 5)
	}
	for _, service := range historyServices {
		var decided register
		waitFor(t, "all proxies serve what was decided of "+service, func() bool {
			if decided, err = look(t.Context(), store, service); err != nil {
				return false
			}
			for _, p := range h.proxies {
				if now, err := served(p, service); err != nil || now != decided {
					return false
				}
			}
			return true
		})
		for i, p := range h.proxies {
			must(t, h.record(i, call{service: service, what: "read"}, func() (register, error) { return served(p, service) }))
		}
		h.read(len(h.proxies), call{service: service, what: "read"}, store)
	}
	h.check()
}

// read reads the decision of a service. What does not answer has no part in the history.
func (h *history) read(client int, c call, store fleet.Store) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = h.record(client, c, func() (register, error) { return look(ctx, store, c.service) })
}

// check fails the test if the history is not linearizable.
func (h *history) check() {
	count := make(map[string]int)
	for _, op := range h.ops {
		what := op.Input.(call).what
		if op.Output.(result).unknown {
			what = "unknown"
		}
		count[what]++
	}
	h.t.Logf("in %s: %v; without effect: %v", time.Since(h.began).Round(time.Second), count, h.failed)
	if count["deploy"] < 5 {
		h.t.Errorf("hardly anything was done: %v", count)
	}
	verdict, info := porcupine.CheckOperationsVerbose(registers, h.ops, time.Minute)
	if verdict == porcupine.Ok {
		return
	}
	file := filepath.Join(h.t.ArtifactDir(), "history.html")
	h.t.Errorf("the history is not linearizable: %s; see %s: %v", verdict, file, errors.Join(porcupine.VisualizePath(registers, info, file)))
	for _, op := range h.ops {
		h.t.Logf("%d: %.3fs to %.3fs: %s", op.ClientId, time.Duration(op.Call).Seconds(), time.Duration(op.Return).Seconds(), registers.DescribeOperation(op.Input, op.Output))
	}
}
