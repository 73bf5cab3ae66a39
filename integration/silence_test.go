package integration

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// A command that waits for ever keeps a pipeline for as long.
func TestCommandsGiveUpOnAProxyThatSaysNothing(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	socket := filepath.Join(p.Dir, "silent.sock")
	l, err := net.Listen("unix", socket)
	must(t, err)
	defer l.Close()
	go func() {
		for { // connections are accepted, and kept
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	commands := []string{"list", "status", "status shop", "deploy web-1:3000", "deploy web-1:3000 --detach", "remove shop", "wait shop"}
	results := make(map[string]chan rig.Result)
	for _, args := range commands {
		ended := make(chan rig.Result, 1)
		results[args] = ended
		go func() {
			r, err := p.Run(append(strings.Fields(args), "--admin", socket)...)
			if err != nil {
				t.Error(err)
			}
			ended <- r
		}()
	}
	for args, ended := range results {
		if r := arrive(t, args, ended); r.Code != 6 || !strings.Contains(r.Stderr, "has said nothing for 10s") {
			t.Errorf("%s: %d %s", args, r.Code, r.Stderr)
		}
	}
}
