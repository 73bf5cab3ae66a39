package integration

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// gate passes connections on to a server, until it is shut.
type gate struct {
	net.Listener
	to string

	// mu guards what follows.
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

// newGate returns a gate that is open.
func newGate(t *testing.T, to string) *gate {
	g := &gate{to: to, conns: make(map[net.Conn]bool)}
	t.Cleanup(func() { g.setShut(true) }) // when it does not listen any more
	g.Listener = rigtest.Listen(t, g.serve)
	return g
}

// setShut shuts the gate, which cuts all connections, or opens it.
func (g *gate) setShut(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut = shut; shut {
		for c := range g.conns {
			c.Close()
		}
		clear(g.conns)
	}
}

// let has a connection be one of the gate's, unless that is shut.
func (g *gate) let(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		if g.shut {
			c.Close()
		} else {
			g.conns[c] = true
		}
	}
	return !g.shut
}

// serve passes a connection on.
func (g *gate) serve(from net.Conn) {
	to, err := net.Dial("tcp", g.to)
	if err != nil {
		from.Close()
		return
	}
	if !g.let(from, to) {
		return
	}
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(pair[1], pair[0])
			pair[0].Close()
			pair[1].Close()
			g.mu.Lock()
			delete(g.conns, pair[0])
			g.mu.Unlock()
		}()
	}
}
