package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// errGoneEarly is that a client has not waited for the handlers of a service to be made.
var errGoneEarly = fmt.Errorf("%w before the handlers of the service were made", forward.ErrClientGone)

// chainSlot is where a release has its handlers. A reload of the host puts others into it. The
// release is the same, however often that happens.
type chainSlot struct {
	// service and adapted are what the handlers are made of.
	service string
	adapted json.RawMessage
	// current are the handlers; nil as long as they have not been made.
	current atomic.Pointer[countedChain]
	// made is closed when current is not nil any more.
	made chan struct{}
}

func newChainSlot(service string, adapted json.RawMessage) *chainSlot {
	return &chainSlot{service: service, adapted: adapted, made: make(chan struct{})}
}

// countsFor reports whether a request that has passed the handlers of s, which may be nil, need not
// pass those of next: they are of the same service, or the same ones.
func (s *chainSlot) countsFor(next *chainSlot) bool {
	return s != nil && (s.service == next.service || bytes.Equal(s.adapted, next.adapted))
}

// put makes next the handlers of the slot. It returns those before, which the caller has to
// retire; nil if there were none. It must not be called by two goroutines at once.
func (s *chainSlot) put(next *countedChain) (before *countedChain) {
	if before = s.current.Swap(next); before == nil {
		close(s.made)
	}
	return before
}

// problem returns why the slot has no handlers; nil if it has some, or waits for them.
func (s *chainSlot) problem() error {
	if s == nil {
		return nil
	}
	if c := s.current.Load(); c != nil {
		return c.problem
	}
	return nil
}

// acquire returns the handlers of the slot, with a request counted on them, once they have been
// made. It returns an error if there are none, or when the engine is stopping or the client is
// gone before, which done or gone tells.
func (s *chainSlot) acquire(stopping, gone, done <-chan struct{}) (*countedChain, error) {
	for {
		c := s.current.Load()
		switch {
		case c == nil:
			select {
			case <-s.made:
			case <-stopping:
				return nil, ErrRetired
			case <-gone:
				return nil, errGoneEarly
			case <-done:
				return nil, errGoneEarly
			}
		case c.problem != nil:
			return nil, c.problem
		case c.acquire():
			return c, nil
		}
		// Others have taken their place meanwhile.
	}
}

// retiringBit is set in countedChain.uses once the chain takes no new requests.
const retiringBit = 1 << 62

// countedChain is a chain that is closed when its last request is done.
type countedChain struct {
	// chain is nil if problem says why there is none.
	chain   Chain
	problem error
	// open counts the chains that are not closed, of which it is one.
	open *atomic.Int64
	// uses counts the requests on their way through the chain, and carries retiringBit, so that
	// one atomic add both counts a request and learns whether it may go on.
	uses    atomic.Int64
	closing sync.Once
}

// acquire counts a request on c. It returns false if c is retired.
func (c *countedChain) acquire() bool {
	if c.uses.Add(1)&retiringBit != 0 {
		c.done()
		return false
	}
	return true
}

// done ends a request that acquire counted.
func (c *countedChain) done() {
	if c.uses.Add(-1) == retiringBit {
		c.close()
	}
}

// retire has c closed when its last request is done. c may be nil.
func (c *countedChain) retire() {
	if c != nil && c.uses.Or(retiringBit) == 0 {
		c.close()
	}
}

// close gives up the handlers, in a goroutine of its own: it may take a while, and the client
// of the last request would wait.
func (c *countedChain) close() {
	if c.chain == nil {
		return
	}
	c.closing.Do(func() {
		go func() {
			defer c.open.Add(-1)
			c.chain.Close()
		}()
	})
}
