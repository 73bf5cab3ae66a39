package handoff

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Host is a process that can hand over. Its methods are called in the order of the protocol,
// and, but for Apply, Drain and Process, by one goroutine at a time.
type Host interface {
	// Begun tells that another process is about to take over, and Failed why it has not.
	Begun()
	Failed(err error)
	// Offer returns what the process hands over, or why it does not hand over now.
	Offer() (Offer, error)
	// Freeze has the process decide nothing any more. What it was about to store is stored. It returns
	// what the next process is to know of its part in a fleet.
	Freeze() (standing []byte)
	// Thaw has it decide again: its successor has failed.
	Thaw()
	// Release has it accept no connections any more, and its clients be told to come by others:
	// the process with that number accepts them.
	Release(next int)
	// TakeBack has it accept and decide again: its successor has died. Leave has it end for good,
	// since its successor ends or has no use for it any more.
	TakeBack()
	Leave()

	// Apply, Drain and Process are those of the engine that follows.
	Apply(service string, document []byte) error
	Drain(ctx context.Context, service string, release int, progress func(requests, streams int)) (api.Drain, error)
	Process() api.Process
}

// Offer is what a process hands over.
type Offer struct {
	Sockets []Socket
	// Generation is how many processes there have been, this one included.
	Generation int
	// Followers are the processes that follow this one.
	Followers []Follower
	// Secrets are what goes with the sockets. Nobody but the next process may know them.
	Secrets []byte
}

// Server hands over to whoever connects.
type Server struct {
	host     Host
	version  string
	listener *net.UnixListener
	// refuse returns why a peer may not connect.
	refuse func(*net.UnixConn) error
	// final is held while a handover becomes final: Close waits.
	final sync.Mutex

	// mu guards what follows.
	mu sync.Mutex
	// attempt is the handover that is under way; nil if there is none.
	attempt *Attempt
	// taking is the connection of the process that is to take over; nil if there is none.
	taking *wire
	// released says that another process has taken over.
	released bool
	// closed says that this process ends: it hands over no more, and takes nothing back.
	closed bool
	// left says that it was told to end.
	left bool
	// controlled is where processes tell this one what to do that come later than the one that
	// has taken over; nil as long as none has.
	controlled *net.UnixListener
	// leaders counts the processes that tell this one what to do: the one that has taken over, and
	// those that come later. As long as there is one, the end of another one says nothing.
	leaders int
}

// Listen returns the socket at path, which it takes over from a process that was killed.
func Listen(path string) (*net.UnixListener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another process listens on %s", path)
	}
	_ = os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// Serve begins to hand over to those who connect to l. version is what this process is.
func Serve(l *net.UnixListener, version string, host Host) *Server {
	l.SetUnlinkOnClose(true) // unlike that of a listener that was handed over
	s := &Server{host: host, version: version, listener: l, refuse: checkPeer}
	go s.accept()
	return s
}

// Listener returns what the server listens on, which is handed over as well.
func (s *Server) Listener() *net.UnixListener { return s.listener }

func (s *Server) accept() { acceptEach(s.listener, s.serve) }

// acceptEach has serve called for each connection to l, up to its end, or until another process
// listens in place of this one.
func acceptEach(l *net.UnixListener, serve func(*wire)) {
	for {
		conn, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil:
			time.Sleep(10 * time.Millisecond) // there are no descriptors left
			continue
		}
		go serve(&wire{conn: conn})
	}
}

// Attempt is a handover that is under way.
type Attempt struct {
	// pid is that of the process that is to begin the handover.
	pid int
	// over is closed when the handover has ended: err then says how.
	over chan struct{}
	err  error
	// final says that it cannot be ended any more: it ends by itself.
	final bool
	// to is the process that has taken over.
	to api.Process
}

// Expect reserves the next handover for a process, which start starts. It returns the error of start,
// too.
func (s *Server) Expect(start func() (pid int, err error)) (*Attempt, error) {
	a, err := s.reserve(start)
	if err != nil {
		return nil, err
	}
	s.host.Begun()
	return a, nil
}

func (s *Server) reserve(start func() (pid int, err error)) (*Attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock() // the process may connect before its number is known here
	a, err := s.begin(0)
	if err != nil {
		return nil, err
	}
	if a.pid, err = start(); err != nil {
		s.attempt = nil
		return nil, err
	}
	return a, nil
}

// begin makes an attempt. mu must be held.
func (s *Server) begin(pid int) (*Attempt, error) {
	switch {
	case s.closed:
		return nil, errStops
	case s.released:
		return nil, errors.New("it has handed over already")
	case s.attempt != nil:
		return nil, errors.New("another process is taking over at the moment")
	}
	s.attempt = &Attempt{pid: pid, over: make(chan struct{})}
	return s.attempt, nil
}

var errStops = errors.New("the running process stops")

// End ends an attempt of which nothing has come: the process may not take over any more. It reports
// whether it has. If not, the attempt ends, or has ended, otherwise: see [Attempt.Wait].
func (s *Server) End(a *Attempt, err error) bool {
	s.mu.Lock()
	ended := !a.final && s.end(a, err)
	s.mu.Unlock()
	if ended {
		s.host.Failed(err)
	}
	return ended
}

// fail ends an attempt of which nothing has come, unless it has ended before.
func (s *Server) fail(a *Attempt, err error) {
	s.mu.Lock()
	ended := s.end(a, err)
	s.mu.Unlock()
	if ended {
		s.host.Failed(err)
	}
}

// end has an attempt be over. It reports whether it was not before. mu must be held.
func (s *Server) end(a *Attempt, err error) bool {
	if a.isOver() {
		return false
	}
	a.err = err
	if s.attempt == a {
		s.attempt = nil
	}
	close(a.over)
	return true
}

func (a *Attempt) isOver() bool {
	select {
	case <-a.over:
		return true
	default:
		return false
	}
}

// Wait returns the process that has taken over, or why none has.
func (a *Attempt) Wait(ctx context.Context) (api.Process, error) {
	select {
	case <-a.over:
		return a.to, a.err
	case <-ctx.Done():
		return api.Process{}, context.Cause(ctx)
	}
}

// serve hands over to the process at the other end of w.
func (s *Server) serve(w *wire) {
	defer w.Close()
	if err := s.refuse(w.conn); err != nil {
		_ = w.send(message{Kind: kindRefused, Reason: err.Error()})
		return
	}
	hello, err := w.receive(offerTimeout)
	if err != nil || hello.Kind != kindHello {
		return
	}
	a, err := s.admit(w, hello)
	if err != nil {
		_ = w.send(message{Kind: kindRefused, Reason: err.Error()})
		return
	}
	if err := s.handOver(w, a); err != nil {
		s.fail(a, err)
		return
	}
	s.control(w)
}

// admit makes a process the one that takes over.
func (s *Server) admit(w *wire, hello message) (*Attempt, error) {
	if hello.Protocol != Protocol {
		return nil, fmt.Errorf("it speaks version %d of the protocol, and the other process (%s) version %d", Protocol, hello.Version, hello.Protocol)
	}
	a, begun, err := s.attemptOf(w, hello)
	if begun {
		s.host.Begun()
	}
	return a, err
}

// attemptOf returns the attempt of the process that says hello, and whether it has begun by that.
func (s *Server) attemptOf(w *wire, hello message) (a *Attempt, begun bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a = s.attempt
	if begun = a == nil || a.pid != hello.PID; begun {
		if a, err = s.begin(hello.PID); err != nil {
			return nil, false, err
		}
	}
	a.to.ProcessIdentity = api.ProcessIdentity{PID: hello.PID, Version: hello.Version}
	s.taking = w
	return a, begun, nil
}

// handOver goes through the protocol, up to the release.
func (s *Server) handOver(w *wire, a *Attempt) error {
	offer, err := s.host.Offer()
	if err != nil {
		_ = w.send(message{Kind: kindRefused, Reason: err.Error()})
		return err
	}
	sockets := append(slices.Clip(offer.Sockets), Socket{Name: SocketName, Conn: s.listener})
	m := message{Kind: kindOffer, Version: s.version, PID: os.Getpid(), Generation: offer.Generation, Secrets: offer.Secrets}
	for _, f := range offer.Followers {
		m.Followers, m.Processes = append(m.Followers, f.Control), append(m.Processes, f.Process)
	}
	if err := w.offer(sockets, m); err != nil {
		return fmt.Errorf("handing over the sockets: %w", err)
	}
	// It is not for this process to say how long the other one may boot.
	if err := s.expect(w, kindBooted, 0); err != nil {
		return err
	}
	standing := s.host.Freeze()
	if err := w.send(message{Kind: kindFrozen, Standing: standing}); err != nil {
		s.host.Thaw()
		return fmt.Errorf("the new process has ended: %w", err)
	}
	if err := s.expect(w, kindReady, readyTimeout); err != nil {
		s.host.Thaw()
		return err
	}
	return s.release(w, a, offer.Generation+1)
}

// release makes the handover final, unless this process has been told to end meanwhile, or the
// attempt has been given up.
func (s *Server) release(w *wire, a *Attempt, next int) error {
	s.final.Lock()
	defer s.final.Unlock()
	s.mu.Lock()
	var err error
	switch {
	case s.closed:
		err = errStops
	case a.isOver():
		err = a.err
	}
	a.final = err == nil
	s.mu.Unlock()
	if err != nil {
		s.host.Thaw()
		return err
	}
	s.host.Release(a.to.PID)
	s.stopListening()
	if err := w.send(message{Kind: kindReleased, Control: s.openControl()}); err != nil {
		s.takeBack()
		return fmt.Errorf("the new process has ended: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	s.leaders++
	s.taking = nil
	a.to.Generation = next
	s.end(a, nil)
	return nil
}

// expect waits for a message of the new process.
func (s *Server) expect(w *wire, k kind, timeout time.Duration) error {
	m, err := w.receive(timeout)
	switch {
	case err != nil:
		return fmt.Errorf("the new process has ended, or does not answer: %w", err)
	case m.Kind == kindFailed:
		return errors.New(m.Reason)
	case m.Kind != k:
		return fmt.Errorf("the new process says %q in place of %q", m.Kind, k)
	}
	return nil
}

// SocketName is the name of the socket of the handover itself.
const SocketName = "handover"

// stopListening leaves the socket to the next process. Its file stays where it is.
func (s *Server) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener.SetUnlinkOnClose(false)
	_ = s.listener.SetDeadline(time.Unix(1, 0))
}

// takeBack has this process go on, since its successor is gone.
func (s *Server) takeBack() {
	s.mu.Lock()
	s.released = false
	s.listener.SetUnlinkOnClose(true)
	_ = s.listener.SetDeadline(time.Time{})
	s.mu.Unlock()
	go s.accept()
	s.host.TakeBack()
}

// Close ends the server: a handover that is under way fails. Unless it has handed over, its socket
// goes.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.final.Lock() // a handover that is becoming final does so
	defer s.final.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.listener.Close()
	if s.taking != nil {
		_ = s.taking.conn.Close()
	}
	if s.controlled != nil {
		_ = s.controlled.Close()
	}
}

// openControl opens the control socket, beside that of the handover, and returns its path. It is
// empty if that fails: then a process that comes later than the next does not reach this one.
func (s *Server) openControl() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.controlled != nil {
		return s.controlled.Addr().String()
	}
	// Processes in two containers may have the same number.
	path := filepath.Join(filepath.Dir(s.listener.Addr().String()), "handover-"+strings.ToLower(rand.Text()[:8])+".sock")
	l, err := Listen(path)
	if err != nil {
		return ""
	}
	s.controlled = l
	go acceptEach(l, s.follow)
	return path
}

// follow serves a process that comes later.
func (s *Server) follow(w *wire) {
	defer w.Close()
	if s.refuse(w.conn) != nil {
		return
	}
	if m, err := w.receive(offerTimeout); err != nil || m.Kind != kindFollow {
		return
	}
	s.mu.Lock()
	s.leaders++
	s.mu.Unlock()
	s.control(w)
}

// control does what the process at the other end of w says, up to its end. If it dies, and no
// other one leads this one, this one goes on.
func (s *Server) control(w *wire) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := false
	for {
		m, err := w.receive(0)
		switch {
		case errors.Is(err, errNonsense): // it lives, and this process cannot follow it
			s.leave()
			return
		case err != nil:
			if !left && s.isAlone() {
				s.takeBack()
			}
			return
		case m.Kind == kindBye:
			s.leave() // which takes a while; drains are told of meanwhile
		case m.Kind == kindLeft:
			left = true // and the connection stays open: its end is that of one of the processes
			if s.isAlone() {
				s.leave() // since the process that leads now does not know of this one
			}
		case m.Kind == kindApply:
			// One after the other: the last one counts.
			failed := ""
			if err := s.host.Apply(m.Service, m.Document); err != nil {
				failed = err.Error()
			}
			_ = w.send(message{Kind: kindDone, ID: m.ID, Error: failed})
		case m.Kind == kindDrain:
			go s.drain(ctx, w, m)
		case m.Kind == kindStatus:
			p := s.host.Process()
			_ = w.send(message{Kind: kindDone, ID: m.ID, Process: &p})
		}
	}
}

// leave has this process end for good.
func (s *Server) leave() {
	s.mu.Lock()
	s.left = true
	s.mu.Unlock()
	s.host.Leave()
}

// isAlone notes that a process that led this one has ended. It reports whether none is left that
// does.
func (s *Server) isAlone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaders--
	return s.leaders == 0 && s.released && !s.closed && !s.left
}

func (s *Server) drain(ctx context.Context, w *wire, m message) {
	done := message{Kind: kindDone, ID: m.ID}
	d, err := s.host.Drain(ctx, m.Service, m.Release, func(requests, streams int) {
		_ = w.send(message{Kind: kindProgress, ID: m.ID, Requests: requests, Streams: streams})
	})
	if err != nil {
		done.Error = err.Error()
	} else {
		done.Drain = &d
	}
	_ = w.send(done)
}
