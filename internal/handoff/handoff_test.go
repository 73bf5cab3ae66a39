package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// process is a [Host] that notes what it is told.
type process struct {
	t *testing.T
	*Server
	path string

	mu      sync.Mutex
	sockets []Socket
	// refuses is why it does not hand over.
	refuses   error
	followers *Followers
	said      []string
	// told has a value for each entry of said.
	told chan struct{}
	// drains are closed when a release has drained.
	drains map[int]chan struct{}
	// asked counts the questions for what it has, and silent has it answer none.
	asked  atomic.Int64
	silent atomic.Bool
	// generation is how many processes there have been, this one included.
	generation int
	// attempts has what it is told of attempts to take over.
	attempts chan string
}

// startProcess starts a process that nobody was before.
func startProcess(t *testing.T) *process {
	t.Helper()
	path := filepath.Join(filepath.Dir(testkit.SocketPath(t)), "handover.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	return newProcess(t, path, l, nil, 7)
}

func newProcess(t *testing.T, path string, l *net.UnixListener, followers *Followers, generation int) *process {
	p := &process{t: t, path: path, followers: followers, generation: generation, told: make(chan struct{}, 100), drains: make(map[int]chan struct{}), attempts: make(chan string, 100)}
	p.Server = Serve(l, "test", p)
	t.Cleanup(p.Close)
	return p
}

func (p *process) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, what)
	p.told <- struct{}{}
}

// heard waits until the process has been told all of that, and nothing else.
func (p *process) heard(want ...string) {
	p.t.Helper()
	for range want {
		testkit.Receive(p.t, p.told, fmt.Sprint(want))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.said, want) {
		p.t.Errorf("the process was told %q, want %q", p.said, want)
	}
	p.said = nil
}

func (p *process) Begun()           { p.attempts <- "begun" }
func (p *process) Failed(err error) { p.attempts <- "failed: " + err.Error() }

func (p *process) Offer() (Offer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var followers []Follower
	if p.followers != nil {
		followers = p.followers.All()
	}
	return Offer{Sockets: p.sockets, Generation: p.generation, Followers: followers, Secrets: []byte("secret")}, p.refuses
}

func (p *process) Freeze() []byte {
	p.say("freeze")
	return []byte("standing")
}
func (p *process) Thaw()       { p.say("thaw") }
func (p *process) Release(int) { p.say("release") }
func (p *process) TakeBack()   { p.say("take back") }
func (p *process) Leave()      { p.say("leave") }

func (p *process) Apply(service string, document []byte) error {
	p.say(fmt.Sprintf("apply %s %s", service, document))
	if service == "broken" {
		return errors.New("it is broken")
	}
	return nil
}

func (p *process) Drain(ctx context.Context, service string, release int, progress func(requests, streams int)) (api.Drain, error) {
	p.mu.Lock()
	drained := p.drains[release]
	p.mu.Unlock()
	p.say(fmt.Sprintf("drain %s v%d", service, release))
	if service == "broken" {
		return api.Drain{}, errors.New("it is broken")
	}
	if drained == nil {
		return api.Drain{Release: release}, nil
	}
	progress(2, 1)
	select {
	case <-drained:
		return api.Drain{Release: release, Requests: 2, Streams: 1}, nil
	case <-ctx.Done():
		return api.Drain{}, ctx.Err()
	}
}

func (p *process) Process() api.Process {
	p.asked.Add(1)
	if p.silent.Load() {
		<-p.t.Context().Done()
	}
	return api.Process{ProcessIdentity: api.ProcessIdentity{PID: 1, Version: "test"}, Connections: 3}
}

// expect reserves the next handover for the process with a number.
func (p *process) expect(pid int) *Attempt {
	p.t.Helper()
	a, err := p.Expect(func() (int, error) { return pid, nil })
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// now returns those that follow at the moment.
func (f *Followers) now() []*follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

// take begins to take over.
func (p *process) take() *Takeover {
	p.t.Helper()
	takeover, err := Take(p.path, "next")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(takeover.Close)
	return takeover
}

// succeed has another process take over, which it returns.
func (p *process) succeed() *process {
	p.t.Helper()
	takeover := p.take()
	if err := takeover.Booted(); err != nil || string(takeover.Standing) != "standing" {
		p.t.Fatal(takeover.Standing, err)
	}
	followers, err := takeover.Ready()
	if err != nil {
		p.t.Fatal(err)
	}
	p.heard("freeze", "release")
	file := takeover.Sockets[SocketName]
	delete(takeover.Sockets, SocketName)
	l, err := net.FileListener(file)
	if err != nil {
		p.t.Fatal(err)
	}
	file.Close()
	takeover.Close()
	return newProcess(p.t, p.path, l.(*net.UnixListener), followers, p.generation+1)
}

func TestSocketsAreHandedOver(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	const many = 3*maxFiles + 1
	p.mu.Lock()
	for i := range many {
		p.sockets = append(p.sockets, Socket{fmt.Sprint("socket ", i), testkit.Listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)})
	}
	p.mu.Unlock()
	takeover := p.take()
	if len(takeover.Sockets) != many+1 || takeover.From.Generation != 7 || string(takeover.Secrets) != "secret" {
		t.Fatalf("%d sockets of generation %d with %q", len(takeover.Sockets), takeover.From.Generation, takeover.Secrets)
	}
	for i := 0; i < many; i += many / 4 {
		original := p.sockets[i].Conn.(*net.TCPListener)
		next, err := net.FileListener(takeover.Sockets[fmt.Sprint("socket ", i)])
		if err != nil {
			t.Fatal(err)
		}
		if next.Addr().String() != original.Addr().String() {
			t.Errorf("socket %d listens on %s, and was %s", i, next.Addr(), original.Addr())
		}
		// Whoever accepts gets it, and the original one still can.
		for _, l := range []net.Listener{next, original} {
			conn, err := net.Dial("tcp", original.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			accepted.Close()
			conn.Close()
		}
		next.Close()
	}
}

func TestNewProcessTellsTheOldOneWhatToServeAndDrain(t *testing.T) {
	t.Parallel()
	old := startProcess(t)
	next := old.succeed()
	next.followers.Apply("app", []byte(`{"x":1}`))
	next.followers.Apply("app", nil)
	old.heard(`apply app {"x":1}`, "apply app ")
	drained := make(chan struct{})
	old.mu.Lock()
	old.drains[4] = drained
	old.mu.Unlock()
	progress := make(chan [2]int, 1)
	result := make(chan []api.Drain, 1)
	go func() {
		all, err := next.followers.Drain("app", 4, func(requests, streams int) { progress <- [2]int{requests, streams} })
		if err != nil {
			t.Error(err)
		}
		result <- all
	}()
	old.heard("drain app v4")
	if left := testkit.Receive(t, progress, "progress"); left != [2]int{2, 1} {
		t.Errorf("%v is left", left)
	}
	if all := next.followers.Processes(); len(all) != 1 || all[0].Connections != 3 {
		t.Errorf("%+v follow", all)
	}
	close(drained)
	if all := testkit.Receive(t, result, "the drain"); len(all) != 1 || all[0].Requests != 2 {
		t.Errorf("%+v", all)
	}
	if all, err := next.followers.Drain("app", 5, nil); len(all) != 0 || err != nil {
		t.Errorf("a release that it holds nothing of: %+v, %v", all, err)
	}
	next.followers.Bye()
	old.heard("drain app v5", "leave")
}

// TestAttemptsAreToldOf, also those of which nothing comes, and the end of a process that follows.
func TestAttemptsAreToldOf(t *testing.T) {
	t.Parallel()
	old := startProcess(t)
	tells := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := testkit.Receive(t, old.attempts, w); got != w {
				t.Errorf("it is told %q, want %q", got, w)
			}
		}
	}
	old.take().Fail(errors.New("no room"))
	tells("begun", "failed: no room")
	a := old.expect(os.Getpid())
	old.End(a, errors.New("too slow"))
	tells("begun", "failed: too slow")
	old.expect(os.Getpid()) // the process that says hello is the one that is expected
	next := old.succeed()
	tells("begun")
	ended := make(chan api.ProcessIdentity, 1)
	next.followers.OnEnd(func(one api.ProcessIdentity) { ended <- one })
	next.followers.Bye()
	old.heard("leave")
	old.Server.Close()
	next.followers.now()[0].wire.conn.CloseWrite() // as the end of a process does
	want := api.ProcessIdentity{PID: os.Getpid(), Version: "test", Generation: 7}
	if got := testkit.Receive(t, ended, "the end of the process"); got != want {
		t.Errorf("%+v has ended, want %+v", got, want)
	}
	select {
	case got := <-old.attempts:
		t.Errorf("it is also told %q", got)
	default:
	}
}

// A process that cannot serve what is stored would serve what is no more.
func TestProcessThatCannotFollowIsToldToEnd(t *testing.T) {
	t.Parallel()
	old := startProcess(t)
	next := old.succeed()
	if err := next.followers.Apply("broken", []byte(`{}`)); err == nil {
		t.Error("it follows")
	}
	old.heard("apply broken {}", "leave")
	// Until it has ended, it has clients whose requests go to what is no more.
	drained := make(chan error, 1)
	go func() {
		_, err := next.followers.Drain("broken", 1, nil)
		drained <- err
	}()
	old.heard("drain broken v1")
	testkit.WaitFor(t, "a question whether it has ended", func() bool { return old.asked.Load() > 0 })
	select {
	case <-drained:
		t.Error("the drain does not wait for its end")
	default:
	}
	next.followers.close()
	if err := testkit.Receive(t, drained, "the drain"); err != nil {
		t.Error(err)
	}
	old.heard() // it ends, and takes nothing back
}

// A process whose leader lives must not lead, too.
func TestProcessThatDoesNotUnderstandItsLeaderEnds(t *testing.T) {
	t.Parallel()
	old := startProcess(t)
	next := old.succeed()
	if _, err := next.followers.now()[0].wire.conn.Write([]byte("{\"kind\":\"appl{}\n")); err != nil {
		t.Fatal(err)
	}
	old.heard("leave")
}

// What is written behind half a message would be taken for a part of it.
func TestNothingIsWrittenBehindHalfAMessage(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	w, err := dial(p.path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_ = w.conn.CloseWrite()
	first := w.send(message{Kind: kindBye})
	if second := w.send(message{Kind: kindBye}); first == nil || !errors.Is(second, first) {
		t.Errorf("%v, then %v", first, second)
	}
}

// A process that was stopped would otherwise hold up all deploys.
func TestProcessThatSaysNothingIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	old := startProcess(t)
	next := old.succeed()
	next.followers.silence = 10 * time.Millisecond
	old.mu.Lock()
	old.drains[3] = make(chan struct{})
	old.mu.Unlock()
	if _, err := next.followers.Drain("app", 3, func(int, int) {}); !errors.Is(err, errTimeout) {
		t.Errorf("the drain ends with %v", err)
	}
}

func TestNewProcessThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	for what, fail := range map[string]struct {
		do   func(*Takeover)
		told []string
	}{
		"it dies before it has booted": {func(n *Takeover) { n.Close() }, nil},
		"it cannot boot":               {func(n *Takeover) { n.Fail(errors.New("no port")) }, nil},
		"it dies when it has booted": {func(n *Takeover) {
			_ = n.Booted()
			n.Close()
		}, []string{"freeze", "thaw"}},
		"it fails when it has booted": {func(n *Takeover) {
			_ = n.Booted()
			n.Fail(errors.New("no disk"))
		}, []string{"freeze", "thaw"}},
		"it talks nonsense": {func(n *Takeover) {
			_ = n.Booted()
			_ = n.wire.send(message{Kind: "nonsense"})
		}, []string{"freeze", "thaw"}},
		"it dies as it becomes ready": {func(n *Takeover) {
			_ = n.Booted()
			_, _ = n.Ready()
			_ = n.wire.conn.Close()
		}, []string{"freeze", "release", "take back"}},
	} {
		t.Run(what, func(t *testing.T) {
			takeover := p.take()
			fail.do(takeover)
			p.heard(fail.told...)
			testkit.WaitFor(t, "the end of the attempt", func() bool {
				p.Server.mu.Lock()
				defer p.Server.mu.Unlock()
				return p.attempt == nil && !p.released
			})
		})
	}
	p.succeed()
}

// A process that is told to stop while another one is about to take over stops the whole proxy: if
// the new one served nevertheless, nobody would have asked for it.
func TestProcessThatStopsHandsOverNoMore(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		booted bool
		told   []string
	}{
		"while the other one boots":    {false, nil},
		"while the other one is ready": {true, []string{"freeze", "thaw"}},
	} {
		t.Run(what, func(t *testing.T) {
			p := startProcess(t)
			takeover := p.take()
			if c.booted {
				if err := takeover.Booted(); err != nil {
					t.Fatal(err)
				}
			}
			p.Close()
			if c.booted {
				if _, err := takeover.Ready(); err == nil {
					t.Error("the other process takes over")
				}
			} else if err := takeover.Booted(); err == nil {
				t.Error("the other process goes on")
			}
			p.heard(c.told...)
		})
	}
	t.Run("when it has handed over", func(t *testing.T) {
		p := startProcess(t)
		next := p.succeed()
		p.Close()
		next.followers.close()
		testkit.WaitFor(t, "the end of the connection", func() bool {
			p.Server.mu.Lock()
			defer p.Server.mu.Unlock()
			return p.leaders == 0
		})
		p.heard()
	})
}

func TestAttemptSaysHowItEnded(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	if _, err := p.Expect(func() (int, error) { return 0, errors.New("there is no program") }); err == nil || err.Error() != "there is no program" {
		t.Error(err)
	}
	a := p.expect(-1)
	if _, err := Take(p.path, "a stranger"); err == nil || !strings.Contains(err.Error(), "another process is taking over") {
		t.Errorf("while another process is expected: %v", err)
	}
	p.End(a, errors.New("it did not start"))
	if _, err := a.Wait(t.Context()); err == nil || err.Error() != "it did not start" {
		t.Error(err)
	}
	a = p.expect(os.Getpid())
	p.succeed()
	if to, err := a.Wait(t.Context()); err != nil || to.PID != os.Getpid() || to.Version != "next" || to.Generation != 8 {
		t.Errorf("%+v, %v", to, err)
	}
	if _, err := p.Expect(func() (int, error) { return 0, nil }); err == nil {
		t.Error("it hands over twice")
	}
}

func TestProcessMayConnectBeforeItsNumberIsKnown(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	var w *wire
	_, err := p.Expect(func() (pid int, err error) {
		if w, err = dial(p.path, time.Second); err == nil {
			err = w.send(message{Kind: kindHello, Protocol: Protocol, PID: os.Getpid()})
		}
		return os.Getpid(), err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if m, err := w.receive(offerTimeout); err != nil || m.Kind != kindOffer {
		t.Errorf("%+v, %v", m, err)
	}
}

// Whoever gives up an attempt kills the new process: it must not be the one that serves.
func TestAttemptThatIsGivenUpComesToNothing(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	a := p.expect(os.Getpid())
	takeover := p.take()
	if err := takeover.Booted(); err != nil {
		t.Fatal(err)
	}
	if !p.End(a, errors.New("it takes too long")) {
		t.Error("the attempt goes on")
	}
	if _, err := takeover.Ready(); err == nil {
		t.Error("the new process takes over")
	}
	p.heard("freeze", "thaw")
	a = p.expect(os.Getpid())
	p.succeed()
	if p.End(a, errors.New("it takes too long")) {
		t.Error("the attempt ends when the new process serves")
	}
	if _, err := a.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestHandoverIsRefused(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	refuse := func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refuses = err
	}
	refuse(errors.New("it is just starting"))
	if _, err := Take(p.path, "next"); err == nil || err.Error() != "the running proxy does not hand over: it is just starting" {
		t.Error(err)
	}
	refuse(nil)
	w, err := dial(p.path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	testkit.WaitFor(t, "the end of the attempt", func() bool {
		p.Server.mu.Lock()
		defer p.Server.mu.Unlock()
		return p.attempt == nil
	})
	_ = w.send(message{Kind: kindHello, Protocol: 99, Version: "99"})
	if m, err := w.receive(time.Second); err != nil || m.Kind != kindRefused || !strings.Contains(m.Reason, "version 99") {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := Take(p.path+"x", "next"); err == nil {
		t.Error("nobody hands over")
	}
	if _, err := Listen(p.path); err == nil {
		t.Error("the socket of a running process is taken away from it")
	}
}

// TestProcessesOfSeveralUpgrades: the newest one tells all, and the one before it takes back.
func TestProcessesOfSeveralUpgrades(t *testing.T) {
	t.Parallel()
	first := startProcess(t)
	second := first.succeed()
	third := second.succeed()
	third.followers.Apply("app", []byte(`1`))
	first.heard("apply app 1")
	second.heard("apply app 1")
	// The newest dies: the one before it goes on, and leads the first.
	third.followers.close()
	second.heard("take back")
	second.followers.Apply("app", []byte(`2`))
	first.heard("apply app 2")
}

// TestProcessesThatSayNothingAreToldApart, also if they have the same number, as in two containers.
func TestProcessesThatSayNothingAreToldApart(t *testing.T) {
	t.Parallel()
	first := startProcess(t)
	second := first.succeed()
	third := second.succeed()
	first.silent.Store(true)
	second.silent.Store(true)
	fourth := third.succeed()
	if all := slices.Sorted(slices.Values(fourth.followers.Generations())); !slices.Equal(all, []int{7, 8, 9}) {
		t.Errorf("the newest process knows of the generations %d", all)
	}
}

// TestOldestProcessKnowsTheNewestBeforeThatLeads: if the one between is killed in the instant in
// which it hands over, only one goes on.
func TestOldestProcessKnowsTheNewestBeforeThatLeads(t *testing.T) {
	t.Parallel()
	first := startProcess(t)
	second := first.succeed()
	takeover := second.take()
	if err := takeover.Booted(); err != nil {
		t.Fatal(err)
	}
	second.followers.close()
	testkit.WaitFor(t, "the end of the process between", func() bool {
		first.Server.mu.Lock()
		defer first.Server.mu.Unlock()
		return first.leaders < 2
	})
	first.heard()
	takeover.Close() // which has not taken over either
	first.heard("take back")
}

// TestOldestProcessEndsIfTheNewestDoesNotReachIt: it would lead beside that one when the one between
// has ended.
func TestOldestProcessEndsIfTheNewestDoesNotReachIt(t *testing.T) {
	t.Parallel()
	first := startProcess(t)
	second := first.succeed()
	if err := os.Remove(second.followers.All()[0].Control); err != nil {
		t.Fatal(err)
	}
	third := second.succeed()
	second.followers.Left()
	first.heard("leave")
	if all := second.followers.Processes(); len(all) != 1 {
		t.Errorf("the connection has ended, and not the process: %+v", all)
	}
	// One that the newest reaches follows that.
	fourth := third.succeed()
	third.followers.Left()
	fourth.followers.Apply("app", []byte(`1`))
	second.heard("apply app 1")
}

// TestOldestProcessGoesOnIfItIsTheLast: the one that has taken over from it has ended, since its
// clients had left, and then the newest is killed.
func TestOldestProcessGoesOnIfItIsTheLast(t *testing.T) {
	t.Parallel()
	first := startProcess(t)
	second := first.succeed()
	third := second.succeed()
	third.followers.Apply("app", []byte(`1`))
	first.heard("apply app 1")
	second.heard("apply app 1")
	second.followers.close()
	second.Close()
	third.listener.SetUnlinkOnClose(false)
	third.Close()
	third.followers.close()
	first.heard("take back")
	first.succeed()
}

// TestNewProcessTakesThePlaceOfOneThatDies while it hands over: it has all its sockets.
func TestNewProcessTakesThePlaceOfOneThatDies(t *testing.T) {
	t.Parallel()
	for what, die := range map[string]func(p *process, n *Takeover) error{
		"before it has frozen": func(_ *process, n *Takeover) error {
			_ = n.wire.conn.Close()
			return n.Booted()
		},
		"before it has released": func(p *process, n *Takeover) error {
			if err := n.Booted(); err != nil {
				return err
			}
			p.heard("freeze")
			return n.wire.conn.Close()
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := startProcess(t)
			n := p.take()
			n.died = func() bool { return true }
			if err := die(p, n); err != nil {
				t.Fatal(err)
			}
			if followers, err := n.Ready(); err != nil || len(followers.All()) > 0 {
				t.Errorf("%v", err)
			}
			// One that has closed the connection, and lives, goes on.
			p = startProcess(t)
			n = p.take()
			n.died = func() bool { return false }
			_ = n.wire.conn.Close()
			if err := n.Booted(); err == nil {
				t.Error("two processes decide")
			}
		})
	}
}

func TestDeathOfAProcessIsSeen(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it is not known elsewhere")
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if hasDied(pid) || hasDied(os.Getpid()) || hasDied(1) || hasDied(0) {
		t.Error("a process is dead that lives, or of which nothing is known")
	}
	_ = cmd.Process.Kill()
	testkit.WaitFor(t, "the death of a process that nobody has asked about", func() bool { return hasDied(pid) })
	_ = cmd.Wait()
	if !hasDied(pid) {
		t.Error("a process that is no more lives")
	}
}
