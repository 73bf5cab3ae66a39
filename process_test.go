package parachute

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/handoff"
	"github.com/parachute-proxy/parachute/internal/proxy"
	"github.com/parachute-proxy/parachute/internal/run"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// A new process that is told to stop takes over no more: its sockets, which are those of the process before, would go
// with it. If that one has handed over by then, it ends as well, because whoever stops a proxy stops all of its processes.
func TestProcessThatEndsDoesNotLead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(filepath.Dir(testkit.SocketPath(t)), "handover.sock")
	l, err := handoff.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	before := hostThatLeaves{ended: make(chan string, 1)}
	server := handoff.Serve(l, "test", before)
	t.Cleanup(server.Close)
	takeover, err := handoff.Take(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(takeover.Close)
	if err := takeover.Booted(); err != nil {
		t.Fatal(err)
	}
	followers, err := takeover.Ready()
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess()
	p.Follow()
	p.exit()
	if err := p.Lead(takeover.From, followers); !errors.Is(err, run.ErrStopping) || p.is(leading) {
		t.Errorf("it leads: %t, %v", p.is(leading), err)
	}
	if how := testkit.Receive(t, before.ended, "the end of the process before"); how != "leave" {
		t.Errorf("the process before is told to %s", how)
	}
	next := newProcess()
	next.Follow()
	if err := next.Lead(api.ProcessIdentity{}, new(handoff.Followers)); err != nil || !next.is(leading) {
		t.Errorf("a process that does not end: %v", err)
	}
}

// hostThatLeaves is a process that hands over, and tells how it is to end.
type hostThatLeaves struct {
	handoff.Host
	ended chan string
}

func (hostThatLeaves) Begun()                        {}
func (hostThatLeaves) Offer() (handoff.Offer, error) { return handoff.Offer{Generation: 1}, nil }
func (hostThatLeaves) Freeze() []byte                { return nil }
func (hostThatLeaves) Release(int)                   {}
func (h hostThatLeaves) TakeBack()                   { h.ended <- "take back" }
func (h hostThatLeaves) Leave()                      { h.ended <- "leave" }

// TestMovedDeployIsRefusedByAnEvent if the process that has taken over refuses it: its caller reads
// events by then. If not, that one's events follow.
func TestMovedDeployIsRefusedByAnEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{http.StatusConflict, `{"error":{"code":"superseded","message":"it is too late"}}`, `{"event":"ended",.*"state":"failed",.*"message":"it is too late"`},
		{http.StatusBadGateway, "nonsense", `{"event":"ended",.*"state":"failed",.*"another process has taken over`},
		{http.StatusOK, "{\"event\":\"accepted\"}\n", `^{"event":"first"}\n{"event":"accepted"}\n$`},
	} {
		next := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match := r.Header.Get("If-Match"); match != "" {
				t.Errorf("the next process is asked for the generation %s of this one", match)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		t.Cleanup(next.Close)
		p := newProcess()
		p.admin = client.Address{Network: "tcp", Address: next.Listener.Addr().String()}
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.serve(func(_ *proxy.Engine, w http.ResponseWriter, _ *http.Request) {
				moving := w.(*movableCall)
				_, _ = io.WriteString(w, "{\"event\":\"first\"}\n")
				moving.moved, moving.accepted, moving.told = true, true, true
				p.Follow()
			}, nil, w, r)
		}))
		t.Cleanup(front.Close)
		req, err := http.NewRequest(http.MethodPost, front.URL, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-Match", `"x-1"`)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !regexp.MustCompile(c.want).Match(body) {
			t.Errorf("%d: %s, %v", c.status, body, err)
		}
	}
}

func TestUpgradeKnowsWhetherTheContainerEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pid, parent int
		first       string
		want        bool
	}{
		{1, 0, "parachute", true},
		{7, 1, "docker-init", true},
		{7, 1, "sh", true},
		{7, 1, "systemd", false},
		{7, 1, "", false},
		{7, 5, "tini", false},
	} {
		if got := endsContainer(c.pid, c.parent, c.first); got != c.want {
			t.Errorf("process %d, a child of %d, beside %q: %t", c.pid, c.parent, c.first, got)
		}
	}
}
