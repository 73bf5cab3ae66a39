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
	// Prepare gets the proxy ready for a proposal, and GiveUp gives up what it holds for that.
	Prepare(ctx context.Context, p proxy.Proposal) error
	GiveUp(service, proposal string)
	// ApplyDecision makes a service what was decided, and AwaitDrains waits for what has left by it.
	ApplyDecision(service string, document []byte, revision uint64) (proxy.Leaving, error)
	AwaitDrains(ctx context.Context, left proxy.Leaving) (api.Drain, error)
	// Revision returns the revision of the decision that a service is of, and FleetRevisions those of all
	// services that are served.
	Revision(service string) uint64
	FleetRevisions() map[string]uint64
	// FleetProposal returns what a service is, as a decision has it; nil if it is not served.
	FleetProposal(service string) (*proxy.Proposal, error)
	// Holder returns another service that this proxy serves and that has any of the routes; empty if none does.
	Holder(service string, routes []api.Route) string
	// FleetReport returns what this proxy tells the others of itself.
	FleetReport() proxy.Report
	// Decisions returns the revisions of the decisions that this proxy goes by, also those of services that were
	// removed. AdoptDecisions has it go by those of another process of the proxy, which serves the same.
	Decisions() map[string]uint64
	AdoptDecisions(revisions map[string]uint64)
}

// Defaults of [Options].
const (
	DefaultPoll         = 500 * time.Millisecond
	DefaultLease        = 5 * time.Second
	DefaultMissingAfter = time.Minute
	// DefaultPatience is how long a store that does not answer is asked again.
	DefaultPatience = 10 * time.Second
	// DefaultFinish is how long proxies that live are waited for to go by a decision.
	DefaultFinish = 30 * time.Second
)

// Options configure an [Agent].
type Options struct {
	// Name is that of the proxy in the fleet. Required.
	Name string
	// Version is that of the program, for people.
	Version string
	// Store is where the fleet meets. Required.
	Store Store
	// Poll is how often the store is looked at. Default: 500ms.
	Poll time.Duration
	// Lease is how long a proxy counts as live after it was heard of last. Default: 5s.
	Lease time.Duration
	// MissingAfter is how long a proxy that is not heard of, and has not said goodbye, keeps the
	// fleet from deciding. Default: 1m. A negative one means that it does until it is forgotten.
	MissingAfter time.Duration
	// Patience is how long a store that does not answer is asked again. Default: 10s.
	Patience time.Duration
	// Finish is how long proxies that live are waited for to go by what was decided, and is added to the limits
	// of a drain. Default: 30s.
	Finish time.Duration
	// Imports are services that this proxy has had before it was part of the fleet, and serves. Those that the fleet does not
	// have are proposed to it. Default: none.
	Imports Imports
	// BeforeImport is called before they are proposed. If it fails, nothing is, and it is called again later. Default: nothing
	// happens.
	BeforeImport func(context.Context) error
	// NoteImports keeps what Imports is to be after the next start. As long as it fails, none is proposed. Default: nothing is kept.
	NoteImports func(Imports) error
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
	if o.Finish == 0 {
		o.Finish = DefaultFinish
	}
	if o.BeforeImport == nil {
		o.BeforeImport = func(context.Context) error { return nil }
	}
	if o.NoteImports == nil {
		o.NoteImports = func(Imports) error { return nil }
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
	// Stop ends ctx, and waits for work: what goes on while the agent is suspended.
	ctx    context.Context
	cancel context.CancelFunc
	work   work
	// term is the time in which the agent takes part. There is another one only when nothing goes on in the one before.
	term *term
	// calls are those of the store that are under way.
	calls calls
	// advanced receives when a decision was applied.
	advanced chan struct{}

	// mu guards what follows.
	mu   sync.Mutex
	self Lease
	// written is the lease of this proxy that the store has answered last, and beaten when it was; zero if something
	// has gone wrong since.
	written Lease
	beaten  time.Time
	// writtenState is what written reports without the counts.
	writtenState string
	// seen is the state that the proxy has looked at last, and progress how far it was with what was decided by then.
	seen     State
	progress progress
	// problem says why the proxy does not take part, or that the store was not reached the
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
	// ending has the ids of the plans that this proxy has begun to withdraw or to abandon.
	ending map[string]bool
	// applied are the plans that this proxy has begun to apply last, by service. applying has the services
	// that are being applied now.
	applied  map[string]string
	applying map[string]bool
	// failing are the services that could not be made what was decided.
	failing map[string]failure
	// imports are those of Options.Imports that the fleet does not have, each with why it has not taken it the last time. importing
	// says that they are being proposed, and importsNoted that Options.NoteImports has kept what there is.
	imports                 map[string]string
	importBase              *uint64
	importing, importsNoted bool
	// news is closed when there may be something new.
	news chan struct{}
	// acks are the newest acknowledgements of this proxy, by plan.
	acks map[string]Ack
	// elsewhere are the plans that processes coordinate which this one has taken over from, with the generations of those.
	elsewhere map[string]int
}

// term is a time in which an agent takes part.
type term struct {
	ctx    context.Context
	cancel context.CancelFunc
	// done is closed when run has returned. work is what it has begun.
	done chan struct{}
	work work
}

func newTerm(ctx context.Context) *term {
	t := &term{done: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(ctx)
	return t
}

// end ends the term, and waits for what it is at until ctx ends.
func (t *term) end(ctx context.Context) {
	t.cancel()
	<-t.done // soon: it waits for nothing that does not end with the term
	t.work.end(ctx)
}

// New returns an agent that takes part once it is started.
func New(opts Options, p Proxy) *Agent {
	opts = opts.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	imports := make(map[string]string, len(opts.Imports.Services))
	for _, service := range opts.Imports.Services {
		imports[service] = ""
	}
	return &Agent{
		opts: opts, proxy: p, leases: newLeases(opts.Lease), calls: newCalls(), advanced: make(chan struct{}, 1), ctx: ctx, cancel: cancel, term: newTerm(ctx),
		self:        Lease{Name: opts.Name, Incarnation: rand.Text(), Version: opts.Version},
		problem:     errors.New("the proxy is joining the fleet"),
		coordinates: make(map[string]bool), known: make(map[string]*heard), ending: make(map[string]bool), applied: make(map[string]string), applying: make(map[string]bool), failing: make(map[string]failure), acks: make(map[string]Ack), imports: imports, importBase: opts.Imports.Base, importsNoted: len(imports) == 0, news: make(chan struct{}),
	}
}

// Start has the proxy take part. Calls after the first do nothing.
func (a *Agent) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.started && !a.left {
		a.started = true
		go a.run(a.term)
	}
}

// Stop ends the agent without a goodbye, as if the process had died.
func (a *Agent) Stop() {
	a.stop(context.Background())
	a.calls.settle(settleTimeout)
}

// settleTimeout bounds how long Stop and Leave wait for calls of the store that were given up.
const settleTimeout = time.Second

// stop ends the agent, and waits for what it is at until ctx ends.
func (a *Agent) stop(ctx context.Context) {
	a.mu.Lock()
	started, now := a.started, a.term
	a.mu.Unlock()
	a.cancel()
	if started {
		now.end(ctx)
	}
	a.work.end(ctx)
}

// Leave says goodbye: the others go on without this proxy, which follows them no more. It goes on
// to serve what it does, so it should get no requests any more. What the proxy applies at that moment is waited
// for until ctx ends; the goodbye has a time of its own.
func (a *Agent) Leave(ctx context.Context) error {
	a.mu.Lock()
	isOurs := a.started && !a.taken // else the lease is that of another process
	a.left, a.self.Ready, a.problem = true, false, errLeft
	a.mu.Unlock()
	a.stop(ctx)
	if !isOurs {
		return nil
	}
	a.calls.settle(settleTimeout) // or a beat that was given up would bring the lease back
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTimeout)
	defer cancel()
	if err := a.remove(ctx, a.opts.Name); err != nil {
		return unreachable(err)
	}
	return nil
}

// goodbyeTimeout bounds how long a proxy tries to say goodbye.
const goodbyeTimeout = 2 * time.Second

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
	if err := a.readLeases(ctx); err != nil {
		return unreachable(err)
	}
	return nil
}

// remove removes the lease of a proxy.
func (a *Agent) remove(ctx context.Context, name string) error {
	return a.do(ctx, func(ctx context.Context) error { return a.opts.Store.Leave(ctx, name) })
}

// Status describes the fleet as this proxy sees it.
func (a *Agent) Status() api.FleetStatus {
	a.mu.Lock()
	self, problem, imports := a.self, a.problem, a.pendingImports()
	a.mu.Unlock()
	s := api.FleetStatus{Name: self.Name, Ready: self.Ready, Members: a.leases.members(self, time.Now()), Imports: imports}
	if problem != nil {
		s.Problem = problem.Error()
	}
	return s
}

// Ready reports whether the proxy has caught up, and follows what is decided. One that has caught up
// once stays ready while the store cannot be reached: it serves what was decided last.
func (a *Agent) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.self.Ready
}

// run beats, and looks at the store, until a term ends.
func (a *Agent) run(now *term) {
	defer close(now.done)
	tick := time.NewTicker(a.opts.Poll)
	defer tick.Stop()
	for {
		a.round()
		for isDue := false; !isDue; {
			select {
			case <-now.ctx.Done():
				return
			case <-tick.C:
				isDue = true
			case <-a.opts.Store.Changed():
				a.announce()
				a.glance()
			case <-a.opts.Store.Acked():
				a.announce()
			case <-a.advanced:
				a.tellProgress()
				isDue = a.isJoining()
			}
		}
	}
}

// isJoining reports whether this proxy has not caught up yet: then it does not wait to see that it has.
func (a *Agent) isJoining() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.self.Ready && !a.taken
}

// glance looks at what was decided, between two rounds, because there may be something new. The lease
// of this proxy, and what is said of its state, are for the rounds.
func (a *Agent) glance() {
	if state, err := a.look(a.term.ctx); err == nil {
		_ = a.follow(state) // the next round does it again
	}
}

// announce has those who wait for something new look.
func (a *Agent) announce() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.news)
	a.news = make(chan struct{})
}

// coming returns what is closed when there may be something new.
func (a *Agent) coming() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.news
}

// reconcile says that this proxy is there, sees who else is, and does what was decided.
func (a *Agent) reconcile() error {
	taken, err := a.beat()
	if taken {
		return takenError(a.opts.Name)
	}
	if err == nil {
		err = a.readLeases(a.term.ctx)
	}
	if err != nil && !errors.Is(err, ErrLost) { // of which the state tells more
		return unreachable(err)
	}
	state, held, err := a.lookOver(a.term.ctx)
	if err != nil {
		return unreachable(err)
	}
	err = a.follow(state)
	if lacks := slices.DeleteFunc(lacking(held, state), a.isImport); len(lacks) > 0 {
		return &lostError{lacks}
	}
	return err
}

// takenError says that another process has the name of this proxy.
func takenError(name string) error {
	return fmt.Errorf("another proxy takes part under the name %s: give each one a name of its own", name)
}

// round is one look at everything.
func (a *Agent) round() {
	err := a.reconcile()
	if a.term.ctx.Err() != nil {
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
		a.beginImport()
	} else {
		a.beaten = time.Time{}
	}
	if a.taken {
		a.self.Ready = false
	}
}

// beatsPerLease is how often a proxy beats within the term of a lease. Each beat goes to every proxy, which is
// most of what a large fleet has its store do.
const beatsPerLease = 4

// beat writes the lease of this proxy, if that is due: it always is before the first look at the store after it
// could not be reached, or after this process was paused. It returns whether another process has its name.
func (a *Agent) beat() (taken bool, err error) {
	began := time.Now()
	report := a.report()
	text, state := report.text(), report.state()
	a.mu.Lock()
	ago := began.Sub(a.beaten)
	isDue := a.written.Ready != a.self.Ready || ago >= a.opts.Lease/beatsPerLease || a.writtenState != state && a.leases.areFew() ||
		a.written.Report != text && ago >= a.opts.Lease/reportsPerLease && a.leases.areFew()
	if !isDue {
		defer a.mu.Unlock()
		return a.taken, nil
	}
	a.self.Beats++
	a.self.Report = text
	l := a.self
	a.mu.Unlock()
	before, err := bounded(a.term.ctx, a.calls, a.opts.Patience, func(ctx context.Context) (Lease, error) { return a.opts.Store.Beat(ctx, l) })
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	// The first beat finds the last one of the process before this one. One of another process that is found
	// later comes from a process that lives.
	taken = a.written.Name != "" && before.Name != "" && before.Incarnation != l.Incarnation
	a.written, a.writtenState, a.beaten = l, state, began
	a.taken = a.taken && before.Incarnation != l.Incarnation || taken
	taken = a.taken
	a.mu.Unlock()
	return taken, nil
}

// refusal returns why this proxy cannot decide anything in its fleet for good; nil if it may be able to.
func (a *Agent) refusal() *api.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var why error
	switch {
	case a.left:
		why = errLeft
	case a.taken:
		why = takenError(a.opts.Name)
	default:
		return nil
	}
	return unchanged(&api.Error{Code: api.CodeFleet, Message: why.Error(), Hint: "ask another proxy of the fleet"})
}

// errLeft means that this proxy has said goodbye.
var errLeft = errors.New("the proxy has left the fleet")

// readLeases reads who is there.
func (a *Agent) readLeases(ctx context.Context) error {
	all, err := bounded(ctx, a.calls, a.opts.Patience, a.opts.Store.Leases)
	if err != nil {
		return err
	}
	a.leases.update(all, time.Now())
	return nil
}

// look reads the state of the store.
func (a *Agent) look(ctx context.Context) (State, error) {
	return bounded(ctx, a.calls, a.opts.Patience, a.opts.Store.Look)
}

// unreachable says that the store has not answered.
func unreachable(err error) *api.Error {
	return &api.Error{
		Code: api.CodeFleet, Message: "the fleet's store cannot be reached: " + api.Printable(err.Error()),
		Hint: "services go on to be served as they are; try again when the store answers", Cause: err,
	}
}

// unchanged adds to an error that nothing has changed.
func unchanged(err *api.Error) *api.Error {
	err.Message += "; nothing has changed"
	return err
}
