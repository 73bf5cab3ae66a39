package front

import (
	"context"
	"maps"
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
	// cut counts the connections that servers had when their time was over.
	cut int
}

// front has the connections of an address.
type front struct {
	addr net.Addr
	// current is what requests are handed to: the newest config that has started, or the
	// last one if there is none any more.
	current atomic.Pointer[entry]
	// http3 is what connections over HTTP/3 begin with: the newest config that serves it, or nil.
	http3 atomic.Pointer[entry]
	// revealed says that there are connections of which revealTLS has to tell.
	revealed atomic.Bool

	// The mu of Fronts guards what follows.

	// entries are those of the configs that have started, the newest last.
	entries []*entry
	// expected counts the configs that are about to join.
	expected int
	// servers are those of the entries, by settings.
	servers map[string]*server
	// quic is the socket for UDP of the same address; nil if no config has served HTTP/3.
	quic *quicSocket
}

// entry is what a config has of a front.
type entry struct {
	std *http.Server
	// handler serves requests over HTTP/3, and http3 is nil if no connections begin with this
	// config.
	handler  http.Handler
	http3    *HTTP3
	settings string
	// edge says that HTTP/1.1 is served by the edge.
	edge  bool
	front *front
	// server is where the config's connections go.
	server atomic.Pointer[server]
}

// key identifies an address.
func key(addr net.Addr) string { return addr.Network() + "/" + addr.String() }

// at returns the front of an address, which it makes if there is none. mu must be held.
func (f *Fronts) at(addr net.Addr) *front {
	at := f.byAddr[key(addr)]
	if at == nil {
		at = &front{addr: addr, servers: make(map[string]*server)}
		if f.byAddr == nil {
			f.byAddr = make(map[string]*front)
		}
		f.byAddr[key(addr)] = at
	}
	return at
}

// expect has the connections of an address go on without a config until one has joined, or
// arrived is called.
func (f *Fronts) expect(addr net.Addr) (arrived func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.at(addr)
	at.expected++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		at.expected--
		f.end(at, 0)
	}
}

// join makes e the newest of the front of an address. Connections whose settings are
// others than those of e are asked to end.
func (f *Fronts) join(addr net.Addr, e *entry) *front {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.at(addr)
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
		at.servers[settings] = newServer(at, e.std, e.edge)
	}
	e.server.Store(at.servers[settings])
	at.chooseHTTP3()
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
	}
	at.chooseHTTP3()
	f.end(at, grace)
}

// chooseHTTP3 has connections over HTTP/3 begin with the newest config that serves it. The mu of
// Fronts must be held.
func (f *front) chooseHTTP3() {
	if len(f.entries) == 0 {
		return // and handshakes that are under way end with the last one
	}
	var newest *entry
	for _, e := range f.entries {
		if e.http3 != nil {
			newest = e
		}
	}
	f.http3.Store(newest)
}

// end has the connections of a front end, if no config has it any more. mu must be held.
func (f *Fronts) end(at *front, grace time.Duration) {
	if len(at.entries) > 0 || at.expected > 0 || f.byAddr[key(at.addr)] != at {
		return
	}
	delete(f.byAddr, key(at.addr))
	if at.quic != nil {
		at.quic.accepts.Store(false)
	}
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
		cut := 0
		if ctx.Err() != nil {
			cut = s.conns.count()
			s.cutHTTP3()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cut += cut
		delete(f.retiring, s)
		close(s.ended)
	}()
}

// wait waits until all servers that are to end have ended, but not longer than grace if that
// is not 0. It returns how many connections had no time to.
func (f *Fronts) wait(grace time.Duration) (cut int) {
	var timeout <-chan time.Time
	if grace > 0 {
		timeout = time.After(grace)
	}
	for {
		next, left := f.next()
		if next == nil {
			return left
		}
		select {
		case <-next.ended:
		case <-timeout:
			_, left := f.next()
			f.cutHTTP3()
			return left
		}
	}
}

// cutHTTP3 closes the connections over HTTP/3 of the servers that have not ended. Those over TCP
// are closed by the system.
func (f *Fronts) cutHTTP3() {
	f.mu.Lock()
	all := slices.Collect(maps.Keys(f.retiring))
	f.mu.Unlock()
	for _, s := range all {
		s.cutHTTP3()
	}
}

// next returns a server that has not ended, or nil, and the connections that there are, or
// were when there was no time left for them.
func (f *Fronts) next() (next *server, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left = f.cut
	for s := range f.retiring {
		next = s
		left += s.conns.count()
	}
	return next, left
}
