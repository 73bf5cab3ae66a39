package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// Proxy is the engine of this proxy, as far as the fleet needs it: [proxy.Engine].
type Proxy interface {
	Prepare(ctx context.Context, p proxy.Proposal) error
	GiveUp(service, proposal string)
	ApplyDecision(service string, document []byte, revision uint64) error
	AwaitDrains(ctx context.Context, service string) (api.Drain, error)
	Revision(service string) uint64
}

// Defaults of [Options].
const (
	DefaultPoll         = 500 * time.Millisecond
	DefaultLease        = 5 * time.Second
	DefaultMissingAfter = time.Minute
	// DefaultPatience is how long a backend that does not answer is asked again.
	DefaultPatience = 10 * time.Second
)

// Options configure an [Agent].
type Options struct {
	// Name is that of the proxy in the fleet. Required.
	Name string
	// Version is that of the program, for people.
	Version string
	// Backend is where the fleet meets. Required.
	Backend Backend
	// Poll is how often the backend is looked at. Default: 500ms.
	Poll time.Duration
	// Lease is how long a proxy counts as there that is not heard of. Default: 5s.
	Lease time.Duration
	// MissingAfter is how long a proxy that is not heard of, and has not said goodbye, keeps the
	// fleet from deciding. Default: 1m.
	MissingAfter time.Duration
	// Patience is how long a backend that does not answer is asked again. Default: 10s.
	Patience time.Duration
	// Logger is told what operators should know. Default: nobody is.
	Logger *zap.Logger
}

func (o Options) withDefaults() Options {
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.MissingAfter == 0 {
		o.MissingAfter = DefaultMissingAfter
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// Agent is one proxy of a fleet. Its zero value is not usable; call [New].
type Agent struct {
	opts   Options
	proxy  Proxy
	leases *leases
	// ctx ends when the agent stops, which done tells is over.
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	work   sync.WaitGroup

	// mu guards what follows.
	mu   sync.Mutex
	self Lease
	// problem says why the proxy does not take part, or that the backend was not reached the
	// last time; nil if neither.
	problem error
	// taken says that another process has the name of this proxy.
	taken bool
	// started says that the agent runs, left that it has said goodbye.
	started, left bool
	// coordinates are the plans of this proxy's own.
	coordinates map[string]bool
	// known are the plans that this proxy has heard of, by service.
	known map[string]*heard
	// applied are the plans that this proxy has begun to apply last, by service, and applying the
	// services of which it is at it.
	applied  map[string]string
	applying map[string]bool
	// news is closed when there may be something new.
	news chan struct{}
	// acks are the newest acknowledgements of this proxy, by plan.
	acks map[string]Ack
}

// New returns an agent that takes part once it is started.
func New(opts Options, p Proxy) *Agent {
	opts = opts.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Agent{
		opts: opts, proxy: p, leases: newLeases(opts.Lease), ctx: ctx, cancel: cancel, done: make(chan struct{}),
		self:        Lease{Name: opts.Name, Incarnation: rand.Text(), Version: opts.Version},
		problem:     errors.New("the proxy is joining the fleet"),
		coordinates: make(map[string]bool), known: make(map[string]*heard), applied: make(map[string]string), applying: make(map[string]bool), acks: make(map[string]Ack), news: make(chan struct{}),
	}
}

// Start has the proxy take part. Calls after the first do nothing.
func (a *Agent) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.started && !a.left {
		a.started = true
		go a.run()
	}
}

// Stop ends the agent without a goodbye, as if the process had died.
func (a *Agent) Stop() {
	a.mu.Lock()
	started := a.started
	a.mu.Unlock()
	a.cancel()
	if started {
		<-a.done
		a.work.Wait()
	}
}

// Leave says goodbye: the others go on without this proxy, which follows them no more. It goes on
// to serve what it does, so it should get no requests any more.
func (a *Agent) Leave(ctx context.Context) error {
	a.mu.Lock()
	taken := a.taken
	a.left, a.self.Ready, a.problem = true, false, errors.New("the proxy has left the fleet")
	a.mu.Unlock()
	a.Stop()
	if taken {
		return nil // the lease is another one's
	}
	return a.remove(ctx, a.opts.Name)
}

// Forget removes a proxy that is gone for good. It returns an [api.Error] if there is none of that
// name, or if it is heard of.
func (a *Agent) Forget(ctx context.Context, name string) error {
	if err := a.readLeases(ctx); err != nil {
		return unreachable(err)
	}
	live, missing := a.leases.others(a.opts.Name, time.Now())
	if _, ok := missing[name]; !ok {
		if name == a.opts.Name || slices.Contains(live, name) {
			return api.Invalid("%s is heard of: it is part of the fleet", name).WithHint("stop it, or have it leave: run %s there", api.Operation("fleet leave"))
		}
		return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("there is no proxy %s in the fleet", api.Printable(name))}
	}
	if err := a.remove(ctx, name); err != nil {
		return unreachable(err)
	}
	return a.readLeases(ctx)
}

// remove removes the lease of a proxy.
func (a *Agent) remove(ctx context.Context, name string) error {
	return boundedDo(ctx, a.opts.Patience, func(ctx context.Context) error { return a.opts.Backend.Leave(ctx, name) })
}

// Status describes the fleet as this proxy sees it.
func (a *Agent) Status() api.FleetStatus {
	a.mu.Lock()
	self, problem := a.self, a.problem
	a.mu.Unlock()
	s := api.FleetStatus{Name: self.Name, Ready: self.Ready, Members: a.leases.members(self, time.Now())}
	if problem != nil {
		s.Problem = problem.Error()
	}
	return s
}

// Ready reports whether the proxy has caught up, and follows what is decided. One that has caught up
// once stays ready while the backend cannot be reached: it serves what was decided last.
func (a *Agent) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.self.Ready
}

// run beats, and looks at the backend, until the agent stops.
func (a *Agent) run() {
	defer close(a.done)
	tick := time.NewTicker(a.opts.Poll)
	defer tick.Stop()
	for {
		a.round()
		for isDue := false; !isDue; {
			select {
			case <-a.ctx.Done():
				return
			case <-tick.C:
				isDue = true
			case <-a.opts.Backend.Changed():
				a.glance()
			}
		}
	}
}

// glance looks at what was decided, between two rounds, because there may be something new. The lease
// of this proxy, and what is said of its state, are for the rounds.
func (a *Agent) glance() {
	a.mu.Lock()
	close(a.news)
	a.news = make(chan struct{})
	a.mu.Unlock()
	if state, err := a.look(a.ctx); err == nil {
		_ = a.follow(state) // the next round does it again
	}
}

// coming returns what is closed when there may be something new.
func (a *Agent) coming() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.news
}

// round is one look at everything.
func (a *Agent) round() {
	err := a.beat()
	if err == nil {
		err = a.readLeases(a.ctx)
	}
	var state State
	if err == nil {
		state, err = a.look(a.ctx)
	}
	if err == nil {
		err = a.follow(state)
	}
	if a.ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left {
		return
	}
	if (err == nil) != (a.problem == nil) || err != nil && err.Error() != a.problem.Error() {
		if err != nil {
			a.opts.Logger.Warn("the proxy cannot follow its fleet at present", zap.Error(err))
		} else {
			a.opts.Logger.Info("the proxy follows its fleet", zap.String("name", a.opts.Name))
		}
	}
	if a.problem = err; err == nil {
		a.self.Ready = true
	}
	if a.taken {
		a.self.Ready = false
	}
}

// beat writes the lease of this proxy.
func (a *Agent) beat() error {
	a.mu.Lock()
	a.self.Beats++
	l := a.self
	a.mu.Unlock()
	before, err := bounded(a.ctx, a.opts.Patience, func(ctx context.Context) (Lease, error) { return a.opts.Backend.Beat(ctx, l) })
	if err != nil {
		return unreachable(err)
	}
	// Of a process before this one, the last beat is there once. What is there again is alive.
	taken := l.Beats > 1 && before.Name != "" && before.Incarnation != l.Incarnation
	a.mu.Lock()
	a.taken = a.taken && before.Incarnation != l.Incarnation || taken
	taken = a.taken
	a.mu.Unlock()
	if taken {
		return fmt.Errorf("another proxy takes part under the name %s: give each one a name of its own", l.Name)
	}
	return nil
}

// readLeases reads who is there.
func (a *Agent) readLeases(ctx context.Context) error {
	all, err := bounded(ctx, a.opts.Patience, a.opts.Backend.Leases)
	if err != nil {
		return unreachable(err)
	}
	a.leases.saw(all, time.Now())
	return nil
}

// look reads the state of the backend.
func (a *Agent) look(ctx context.Context) (State, error) {
	return bounded(ctx, a.opts.Patience, a.opts.Backend.Look)
}

// bounded calls a backend, and gives up on it after a time, also if it does not heed its context. What
// comes of a call that was given up goes nowhere: so it is returned, and call must not keep it elsewhere.
func bounded[T any](ctx context.Context, timeout time.Duration, call func(context.Context) (T, error)) (result T, err error) {
	type outcome struct {
		result T
		err    error
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	done := make(chan outcome, 1)
	go func() {
		defer cancel()
		result, err := call(ctx)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		select {
		case o := <-done:
			return o.result, o.err
		default:
			return result, context.Cause(ctx)
		}
	}
}

// boundedDo is bounded for a call that returns nothing else than an error.
func boundedDo(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	_, err := bounded(ctx, timeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

// unreachable says that the backend has not answered, and nothing has changed.
func unreachable(err error) *api.Error {
	return &api.Error{
		Code: api.CodeFleet, Message: "the fleet's store cannot be reached: " + api.Printable(err.Error()) + "; nothing has changed",
		Hint: "services go on to be served as they are; try again when the store answers", Cause: err,
	}
}
