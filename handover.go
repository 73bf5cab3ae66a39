package parachute

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/handoff"
	"github.com/parachute-proxy/parachute/internal/run"
)

const (
	// idleTime is how long an idle connection is left to its client after a handover. A client
	// that has said nothing for so long has hardly a request on its way when it is closed.
	idleTime = time.Minute
	// maxLingering bounds the processes that have handed over, and have not ended.
	maxLingering = 3
)

// handover is how this process hands over to the next one: a [handoff.Host].
type handover struct{ *process }

// Begun tells that another process is about to take over.
func (h handover) Begun() { h.announce(api.Event{Kind: api.EventUpgrading}) }

// Failed tells that none has.
func (h handover) Failed(err error) {
	h.announce(api.Event{Kind: api.EventUpgradeFailed, Reason: api.Printable(err.Error())})
}

// Offer returns what the next process gets.
func (h handover) Offer() (handoff.Offer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase != leading {
		return handoff.Offer{}, errors.New("it follows another process")
	}
	offer := handoff.Offer{Generation: h.generation, Followers: h.followers.All()}
	if followers := offer.Followers; len(followers) >= maxLingering {
		return handoff.Offer{}, fmt.Errorf("%d processes from upgrades before still have clients; wait until one has ended, or choose a shorter --linger", len(followers))
	}
	relays, err := front.Relays()
	if err != nil {
		return handoff.Offer{}, err
	}
	if offer.Secrets, err = front.Secrets(); err != nil {
		return handoff.Offer{}, err
	}
	for _, s := range append(front.Sockets(), relays...) {
		offer.Sockets = append(offer.Sockets, handoff.Socket{Name: s.Name, Conn: s.Conn})
	}
	offer.Sockets = append(offer.Sockets, h.own...)
	return offer, nil
}

// Freeze has this process decide nothing any more, and take no part in its fleet.
func (h handover) Freeze() (standing []byte) {
	h.become(frozen)
	if e := running.engine(); e != nil {
		e.Follow()
	}
	return currentMembership().suspend()
}

// Thaw has it decide again.
func (h handover) Thaw() {
	h.log().Warn("the process that was to take over has failed; this one goes on")
	currentMembership().resume()
	h.decide()
}

// Release leaves the sockets to the next process.
func (h handover) Release(next int) {
	h.mu.Lock()
	h.stays = make(chan struct{})
	stays, linger := h.stays, h.linger
	close(h.handedOver)
	h.mu.Unlock()
	releaseSockets(min(idleTime, linger))
	h.become(following)
	notifyMainProcess(next)
	h.log().Info("another process has taken over; this one stays for the clients that it has", zap.Int("pid", next), zap.Duration("linger", linger))
	go h.stay(stays, linger)
}

// TakeBack has this process go on as before.
func (h handover) TakeBack() {
	h.log().Warn("the process that had taken over has died; this one goes on")
	h.goOn()
	h.mu.Lock()
	h.handedOver = make(chan struct{})
	h.mu.Unlock()
	// What that one has stored counts, even if it had no time to tell of it.
	if err := h.refresh(); err != nil {
		h.log().Error("what is stored cannot be read; the services stay as they are", zap.Error(err))
	}
	resumeSockets() // before what follows, which may have to start a server of the fleet: clients wait for nothing of that
	currentMembership().resume()
	h.decide()
	h.announce(api.Event{Kind: api.EventTakenBack})
}

// Leave ends this process.
func (h handover) Leave() {
	h.goOn()
	h.end("the process that has taken over has no use for it any more")
}

// goOn has the process not end by itself.
func (h handover) goOn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stays != nil {
		close(h.stays)
		h.stays = nil
	}
}

var errStopped = errors.New("this process has stopped")

// Apply makes a service what the process that leads has stored.
func (h handover) Apply(service string, document []byte) error {
	e := running.engine()
	if e == nil {
		return errStopped
	}
	return e.Apply(service, document)
}

// Drain waits until this process holds nothing of a release.
func (h handover) Drain(ctx context.Context, service string, release int, progress func(requests, streams int)) (api.Drain, error) {
	e := running.engine()
	if e == nil {
		return api.Drain{}, errStopped
	}
	return e.DrainOld(ctx, service, release, progress)
}

// Process tells what this process has.
func (h handover) Process() api.Process { return h.status() }

// notifyMainProcess tells systemd which process is the main one of the unit from now on
// (sd_notify(3), MAINPID): only the main process may.
func notifyMainProcess(pid int) {
	if conn := run.DialManager(); conn != nil {
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "MAINPID=%d", pid)
	}
}
