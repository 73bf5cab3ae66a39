package parachute

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/handoff"
	"github.com/parachute-proxy/parachute/internal/run"
	"github.com/parachute-proxy/parachute/internal/version"
)

// process is this process of the proxy. It may take over from the one before, as [run.Plugin],
// and hand over to the next one (handover.go).
type process struct {
	// began is the directory that it was started in.
	began string
	// calls counts the calls of the API that are under way.
	calls atomic.Int64

	// mu guards what follows.
	mu         sync.Mutex
	generation int
	phase      phase
	// exiting says that the process is about to end: it takes over from nobody any more.
	exiting bool
	// settled is closed unless the process is frozen.
	settled chan struct{}
	// followers are the processes that this one has taken over from.
	followers *handoff.Followers
	// server hands over; nil in a Caddy that is not of `parachute run`.
	server *handoff.Server
	// own are the sockets that the front does not know of.
	own    []handoff.Socket
	admin  client.Address
	linger time.Duration
	// handedOver is closed while another process has taken over from this one.
	handedOver chan struct{}
	// stays is closed when this process does not end by itself any more; nil unless it lingers.
	stays chan struct{}
}

// phase is what a process is to the services.
type phase int

const (
	// leading decides.
	leading phase = iota
	// frozen has ceased to decide, and the next process has not begun.
	frozen
	// following serves what another process decides, which this one is about to take over from,
	// or has handed over to.
	following
)

// thisProcess is the only one.
var thisProcess = newProcess()

func newProcess() *process {
	began, _ := os.Getwd()
	p := &process{
		began: began, generation: 1, followers: new(handoff.Followers), settled: make(chan struct{}), handedOver: make(chan struct{}),
	}
	close(p.settled)
	return p
}

// become changes the phase.
func (p *process) become(next phase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case next == frozen:
		p.settled = make(chan struct{})
	case p.phase == frozen:
		close(p.settled)
	}
	p.phase = next
}

func (p *process) is(which phase) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase == which
}

// follows reports whether another process decides. While that is open, it waits for the decision.
func (p *process) follows(ctx context.Context) bool {
	p.mu.Lock()
	settled := p.settled
	p.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase == following
}

// untilHandover returns a context that ends with ctx, or when another process takes over.
func (p *process) untilHandover(ctx context.Context) (context.Context, context.CancelFunc) {
	p.mu.Lock()
	handedOver := p.handedOver
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-handedOver:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Follow implements [run.Plugin], as do the methods below.
func (p *process) Follow() {
	fleet.Seat.Give()
	p.become(following)
}

// refreshTimeout bounds how long it takes to read what another process has stored last.
const refreshTimeout = 10 * time.Second

// Refresh makes the services what is stored, and takes the place of the process before in the fleet.
func (p *process) Refresh(standing []byte) error {
	if err := p.refresh(); err != nil {
		return fmt.Errorf("reading what is stored: %w", err)
	}
	return currentMembership().succeed(standing)
}

// refresh makes the services what is stored.
func (p *process) refresh() error {
	e := running.engine()
	if e == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
	defer cancel()
	return e.Refresh(ctx)
}

// Lead has this process decide, and tell followers. If the process is about to end, it returns
// [run.ErrStopping]: the followers have handed over to the process that was told to stop, so they end, too.
func (p *process) Lead(from api.ProcessIdentity, followers *handoff.Followers) error {
	p.mu.Lock()
	if p.exiting {
		p.mu.Unlock()
		followers.Bye()
		return run.ErrStopping
	}
	p.generation, p.followers, p.phase = from.Generation+1, followers, leading
	p.mu.Unlock()
	if e := running.engine(); e != nil {
		e.Lead()
	}
	member := currentMembership()
	member.start()
	p.announce(api.Event{Kind: api.EventUpgraded, From: &from})
	followers.OnEnd(func(one api.ProcessIdentity) {
		member.ended(one)
		p.announce(api.Event{Kind: api.EventProcessEnded, Process: &one, Followed: !p.is(leading)})
	})
	member.living(followers.Generations()) // one may have ended before that
	return nil
}

// announce tells those who follow the events of what has happened to a process of the proxy: to this
// one, if the event names none.
func (p *process) announce(ev api.Event) {
	if ev.Process == nil {
		self := p.identity()
		ev.Process = &self
	}
	if e := running.engine(); e != nil {
		e.Announce(ev)
	}
}

// Leads implements [run.Plugin].
func (p *process) Leads() bool { return p.is(leading) }

func (p *process) decide() {
	p.become(leading)
	if e := running.engine(); e != nil {
		e.Lead()
	}
}

// HandOver has this process hand over to those that connect to l.
func (p *process) HandOver(l *net.UnixListener, own []handoff.Socket, admin client.Address, linger time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exiting {
		l.SetUnlinkOnClose(true)
		_ = l.Close()
		return
	}
	p.own, p.admin, p.linger = own, admin, linger
	p.server = handoff.Serve(l, version.Version(), handover{p})
}

// number returns how many processes have taken over from each other, this one included.
func (p *process) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.generation
}

// identity says which process this is.
func (p *process) identity() api.ProcessIdentity {
	return api.ProcessIdentity{PID: os.Getpid(), Version: version.Version(), Generation: p.number()}
}

// status tells what this process has.
func (p *process) status() api.Process {
	now := api.Process{ProcessIdentity: p.identity()}
	now.Connections = fronts.Connections()
	if e := running.engine(); e != nil {
		now.Requests, now.Streams = e.InFlight()
	}
	return now
}

// stay ends this process, which has handed over, when it has no clients any more, or when its time
// is over.
func (p *process) stay(stays <-chan struct{}, linger time.Duration) {
	deadline := time.After(linger)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stays:
			return
		case <-deadline:
			p.end("its time is over")
			return
		case <-tick.C:
			if now := p.status(); now.Connections+now.Requests+now.Streams == 0 && p.calls.Load() == 0 {
				p.end("it has no clients any more")
				return
			}
		}
	}
}

// end has Caddy end the process as it does when it is told to stop.
func (p *process) end(why string) {
	p.log().Info("this process ends", zap.String("reason", why))
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Signal(syscall.SIGTERM)
	}
}

// exit is called when the process is about to end.
func (p *process) exit() {
	p.mu.Lock()
	p.exiting = true
	server := p.server
	p.mu.Unlock()
	if server != nil {
		server.Close() // from now on, it is settled who leads
	}
	p.mu.Lock()
	followers, leads := p.followers, p.phase != following
	p.mu.Unlock()
	if leads {
		followers.Bye() // the whole proxy is to end
	} else {
		followers.Left()
	}
}

func (p *process) log() *zap.Logger { return caddy.Log().Named("parachute") }

// tell tells the processes that follow this one. It is a [proxy.Followers].
type tell struct{ *process }

// Apply has them make a service what a document says.
func (t tell) Apply(service string, document []byte) {
	if err := t.all().Apply(service, document); err != nil {
		t.log().Warn("a process that this one has taken over from does not follow, and is told to end", zap.Error(err))
	}
}

// Drain waits until they hold nothing of a release.
func (t tell) Drain(service string, release int, progress func(requests, streams int)) []api.Drain {
	all, err := t.all().Drain(service, release, progress)
	if err != nil {
		t.log().Warn("a process that this one has taken over from says nothing any more, and is not waited for", zap.Error(err))
	}
	return all
}

func (t tell) all() *handoff.Followers {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.followers
}

// releaseSockets leaves the sockets to the next process, and has clients come by new connections.
func releaseSockets(idle time.Duration) {
	front.Release()
	fronts.Retire(idle)
}

// resumeSockets undoes releaseSockets.
func resumeSockets() {
	fronts.Renew()
	front.Resume()
}
