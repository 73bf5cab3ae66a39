package front

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Fronts are the fronts of a process. The zero value has none.
type Fronts struct {
	// atOnce says that connections that are idle have no time to leave by themselves.
	atOnce bool

	// mu guards what follows.
	mu     sync.Mutex
	byAddr map[string]*front
	// retiring are the servers that have been told to end, and have not.
	retiring map[*server]struct{}
}

// front has the connections of an address.
type front struct {
	addr net.Addr
	// current is what requests are handed to: the newest config that has started, or the
	// last one if there is none any more.
	current atomic.Pointer[entry]
	// revealed says that there are connections of which revealTLS has to tell.
	revealed atomic.Bool

	// The mu of Fronts guards what follows.

	// entries are those of the configs that have started, the newest last.
	entries []*entry
	// servers are those of the entries, by settings.
	servers map[string]*server
}

// entry is what a config has of a front.
type entry struct {
	std      *http.Server
	settings string
	front    *front
	// server is where the config's connections go.
	server *server
}

// join makes e the newest of the front of an address. Connections whose settings are
// others than those of e are asked to end.
func (f *Fronts) join(addr net.Addr, e *entry) *front {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := addr.Network() + "/" + addr.String()
	at := f.byAddr[key]
	if at == nil {
		at = &front{addr: addr, servers: make(map[string]*server)}
		if f.byAddr == nil {
			f.byAddr = make(map[string]*front)
		}
		f.byAddr[key] = at
	}
	at.entries = append(at.entries, e)
	at.current.Store(e)
	settings := e.settings + connectionSettings(e.std)
	for other, s := range at.servers {
		if other != settings {
			delete(at.servers, other)
			f.retire(s, f.politeTime(), 0)
		}
	}
	if at.servers[settings] == nil {
		at.servers[settings] = newServer(at, e.std)
	}
	e.server = at.servers[settings]
	return at
}

// leave takes e out of its front. If it was the last one, the connections are asked to end;
// they have grace to do so, or for ever if that is 0.
func (f *Fronts) leave(e *entry, grace time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := e.front
	at.entries = slices.DeleteFunc(at.entries, func(other *entry) bool { return other == e })
	if n := len(at.entries); n > 0 {
		at.current.Store(at.entries[n-1])
		return
	}
	delete(f.byAddr, at.addr.Network()+"/"+at.addr.String())
	for s := range f.retiring { // since Retire, perhaps, and with more time
		if s.front == at {
			s.hurry()
		}
	}
	for _, s := range at.servers {
		f.retire(s, f.politeTime(), grace)
	}
}

// politeTime is how long idle connections have to leave by themselves.
func (f *Fronts) politeTime() time.Duration {
	if f.atOnce {
		return 0
	}
	return politeTime
}

// retire has s end: idle connections are closed after a time, and what is left after grace, if
// that is not 0. mu must be held.
func (f *Fronts) retire(s *server, idle, grace time.Duration) {
	if f.retiring == nil {
		f.retiring = make(map[*server]struct{})
	}
	f.retiring[s] = struct{}{}
	go func() {
		ctx, cancel := context.WithCancel(context.Background())
		if grace > 0 {
			ctx, cancel = context.WithTimeout(context.Background(), grace)
		}
		defer cancel()
		s.retire(ctx, idle)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.retiring, s)
	}()
}

// wait waits until all servers that are to end have ended, but not longer than grace if that
// is not 0. If some have not, cut is told how many connections they have.
func (f *Fronts) wait(grace time.Duration, cut func(connections int)) {
	var timeout <-chan time.Time
	if grace > 0 {
		timeout = time.After(grace)
	}
	for {
		f.mu.Lock()
		var next *server
		left := 0
		for s := range f.retiring {
			next = s
			left += s.conns.count()
		}
		f.mu.Unlock()
		if next == nil {
			return
		}
		select {
		case <-next.ended:
		case <-timeout:
			if left > 0 {
				cut(left)
			}
			return
		}
	}
}
