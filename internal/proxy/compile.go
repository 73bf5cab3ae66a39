package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// chains are the handlers of all releases. They are made by the host of the moment.
type chains struct {
	// reloading is held by who puts others in the place of all handlers, also while they are
	// made.
	reloading sync.Mutex

	// open counts the chains that are not closed.
	open atomic.Int64

	// mu guards what follows. It is held for map operations only.
	mu sync.Mutex
	// host makes handlers; nil as long as there is none.
	host Handlers
	// slots are those of all releases that are not closed.
	slots map[*chainSlot]struct{}
}

func newChains(host Handlers) *chains {
	return &chains{host: host, slots: make(map[*chainSlot]struct{})}
}

func (c *chains) currentHost() Handlers {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.host
}

// add returns a slot for the handlers of a release.
func (c *chains) add(service string, adapted json.RawMessage) *chainSlot {
	s := newChainSlot(service, adapted)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots[s] = struct{}{}
	return s
}

// remove retires the handlers of a slot, whose release is closed.
func (c *chains) remove(s *chainSlot) {
	c.mu.Lock()
	delete(c.slots, s)
	before := s.put(c.counted(nil, ErrRetired))
	c.mu.Unlock()
	before.retire()
}

// counted returns a chain that is counted as open, or why there is none.
func (c *chains) counted(chain Chain, problem error) *countedChain {
	if chain != nil {
		c.open.Add(1)
	}
	return &countedChain{chain: chain, problem: problem, open: &c.open}
}

// closeTime bounds how long the end of the process waits for handlers to give up what they hold.
const closeTime = 2 * time.Second

// awaitClosed waits until all chains are closed, but not for long: a request that is stuck has
// its chain open. Some handlers have something to send when they are closed, such as spans.
func (c *chains) awaitClosed() {
	for end := time.Now().Add(closeTime); c.open.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// make makes the handlers of a slot, if there is a host and nobody else has made them. It
// returns why they cannot be made, which requests are refused with then.
func (c *chains) make(s *chainSlot) error {
	for {
		host := c.currentHost()
		if host == nil {
			return nil // whoever brings one makes them
		}
		chain, err := compile(host, s)
		c.mu.Lock()
		if _, open := c.slots[s]; open && c.host == host && s.current.Load() == nil {
			s.put(c.counted(chain, err))
			c.mu.Unlock()
			return err
		}
		made := s.current.Load() != nil
		c.mu.Unlock()
		if chain != nil {
			chain.Close()
		}
		if made {
			return s.problem()
		}
	}
}

// compile has a host make the handlers of a slot.
func compile(host Handlers, s *chainSlot) (Chain, error) {
	chain, err := host.Compile(s.service, s.adapted)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandlers, err)
	}
	return chain, nil
}

// reload has host make all handlers anew and puts them in the place of those before, which
// are closed when their requests are done. If some cannot be made, it changes nothing and
// returns why, unless tolerant is set: then their services refuse requests. Services that
// refuse requests already do not count.
func (c *chains) reload(host Handlers, tolerant bool) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	fresh := make(map[*chainSlot]*countedChain)
	giveUp := func() {
		for _, chain := range fresh {
			chain.retire()
		}
	}
	for {
		c.mu.Lock()
		missing := maps.Clone(c.slots)
		for s := range fresh {
			delete(missing, s)
		}
		if len(missing) == 0 {
			break // with the lock, under which they are put in place
		}
		c.mu.Unlock()
		var failed []error
		for s := range missing {
			chain, err := compile(host, s)
			if err != nil && !tolerant && s.problem() == nil {
				failed = append(failed, fmt.Errorf("the service %s: %w", s.service, err))
			}
			fresh[s] = c.counted(chain, err)
		}
		if len(failed) > 0 {
			giveUp()
			return errors.Join(failed...)
		}
	}
	c.host = host
	var before []*countedChain
	for s, chain := range fresh {
		if _, open := c.slots[s]; !open {
			before = append(before, chain) // its release was closed meanwhile
			continue
		}
		before = append(before, s.put(chain))
	}
	c.mu.Unlock()
	for _, chain := range before {
		chain.retire()
	}
	return nil
}

// SetHandlers has host make the handlers of all services from now on. Those that there are it
// makes anew: the ones before may depend on a configuration of the host that ends. If some
// cannot be made, SetHandlers changes nothing and returns an error that names their services,
// unless tolerant is set, as at a start: then those services refuse requests, because it may
// have been a password that is missing. No service has handlers before the first call, and
// requests wait for them, unless the engine was made with some.
func (e *Engine) SetHandlers(host Handlers, tolerant bool) error {
	if err := e.chains.reload(host, tolerant); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, s := range e.services {
		for _, r := range s.lineup().releases() {
			if err := r.handlers.problem(); err != nil {
				e.logRefusal(name, r.Version, err)
			}
		}
	}
	return nil
}

// logRefusal logs that a release has no handlers that could be used.
func (e *Engine) logRefusal(service string, release int, err error) {
	e.log().Error("service refuses requests: its handlers cannot be used; deploy it again",
		zap.String("service", service), zap.Int("release", release), zap.Error(err))
}

// adaptHandlers fills in the handlers that a deployment of s asks for, if they can be made.
func (e *Engine) adaptHandlers(s *api.Spec) error {
	if !s.Options.HasHandlers() {
		return nil
	}
	host := e.chains.currentHost()
	if host == nil {
		return api.Invalid("this proxy has no handlers for single services")
	}
	adapted, err := host.Adapt(s.Service, &s.Options)
	s.Handlers = adapted
	return err
}

// makeHandlers makes the handlers of the release that is to serve.
func (o *operation) makeHandlers() error {
	if o.next.handlers == nil {
		return nil
	}
	if err := o.e.chains.make(o.next.handlers); err != nil {
		return api.Invalid("%s", api.PrintableUpTo(err.Error(), 1000))
	}
	return nil
}
