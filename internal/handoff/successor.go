package handoff

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// dialTimeout bounds how long it takes to reach the running process, and offerTimeout how long
	// that takes to answer.
	dialTimeout  = 2 * time.Second
	offerTimeout = 5 * time.Second
	// freezeTimeout bounds how long the running process takes to end what it is about to store.
	freezeTimeout = 30 * time.Second
	// readyTimeout is how long a process stays frozen at most: deploys wait meanwhile.
	readyTimeout = 15 * time.Second
)

// RefusedError means that the running process does not hand over.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the running proxy does not hand over: " + e.Reason }

// ErrNobody means that no process hands over.
var ErrNobody = errors.New("no proxy is running")

// Takeover is what a new process has of the one that it takes over from.
type Takeover struct {
	wire *wire
	// Sockets are those that the running process has, by name. Whoever uses one takes it out;
	// [Takeover.Close] closes the others.
	Sockets map[string]*os.File
	// From is the running process, and Secrets are what it hands over with the sockets.
	From    api.ProcessIdentity
	Secrets []byte
	// Standing is what the running process hands over of its part in a fleet, from Booted on; nil if it has none.
	Standing []byte
	// others are the processes that follow it, to which followers has connections from Booted on.
	others    []Follower
	followers Followers
	// decides says that this process decides now.
	decides bool
	// died reports whether the running process has died.
	died func() bool
}

// Take asks the process that listens at path for its sockets. version is what this process is.
// It returns a [RefusedError] if that one does not hand over, and [ErrNobody] if none is there, or if
// it ends before it has handed anything over.
func Take(path, version string) (*Takeover, error) {
	w, err := dial(path, dialTimeout)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %w", ErrNobody, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the running proxy: %w", err)
	}
	if err := w.send(message{Kind: kindHello, Protocol: Protocol, Version: version, PID: os.Getpid()}); err != nil {
		w.Close()
		return nil, fmt.Errorf("reaching the running proxy: %w", err)
	}
	sockets, last, err := w.accept()
	t := &Takeover{wire: w, Sockets: sockets, Secrets: last.Secrets}
	for i, control := range last.Followers {
		f := Follower{Control: control}
		if i < len(last.Processes) {
			f.Process = last.Processes[i]
		}
		t.others = append(t.others, f)
	}
	t.From = api.ProcessIdentity{PID: last.PID, Version: last.Version, Generation: last.Generation}
	t.died = func() bool { return hasDied(last.PID) }
	if err != nil {
		t.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = fmt.Errorf("%w: it has ended: %w", ErrNobody, err)
		}
		return nil, err
	}
	return t, nil
}

// Booted tells the running process that this one could serve. It returns when the other one has
// ceased to decide: what is stored then stays.
//
// If the other one dies, it has ceased as well: this one has all its sockets, and takes its place.
//
// From then on, the processes that follow the other one know of this one: if only that one died, they
// would not decide.
func (t *Takeover) Booted() error {
	for _, f := range t.others {
		t.followers.connect(f)
	}
	m, err := t.call(kindBooted, kindFrozen, freezeTimeout)
	if t.isOrphaned(err) {
		return nil
	}
	t.Standing = m.Standing
	return err
}

// deathPause is how often is looked whether a process that has closed its connection is dead, and
// deathLooks how many times.
const (
	deathPause = 50 * time.Millisecond
	deathLooks = 20
)

// isOrphaned reports whether a call has failed because the running process has died.
func (t *Takeover) isOrphaned(err error) bool {
	refused, _ := errors.AsType[*RefusedError](err)
	if err == nil || refused != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	for range deathLooks {
		if t.died() {
			return true
		}
		time.Sleep(deathPause)
	}
	return false
}

// call sends a message, and waits for the answer.
func (t *Takeover) call(k, answer kind, timeout time.Duration) (message, error) {
	if err := t.wire.send(message{Kind: k}); err != nil {
		return message{}, fmt.Errorf("telling the running proxy: %w", err)
	}
	return t.expect(answer, timeout)
}

// Ready tells the running process that this one serves what is stored, and returns when it has
// ceased to accept connections: then this one decides, and has to accept them.
//
// Followers are the other one and those that follow it.
func (t *Takeover) Ready() (*Followers, error) {
	m, err := t.call(kindReady, kindReleased, offerTimeout)
	if t.isOrphaned(err) {
		t.decides = true
		t.wire.Close()
		return &t.followers, nil
	}
	if err != nil {
		return nil, err
	}
	t.decides = true
	t.followers.add(t.wire, m.Control, t.From)
	return &t.followers, nil
}

func (t *Takeover) expect(k kind, timeout time.Duration) (message, error) {
	m, err := t.wire.receive(timeout)
	switch {
	case err != nil:
		return m, fmt.Errorf("waiting for the running proxy: %w", err)
	case m.Kind == kindRefused:
		return m, &RefusedError{m.Reason}
	case m.Kind != k:
		return m, fmt.Errorf("the running proxy says %q in place of %q", m.Kind, k)
	}
	return m, nil
}

// Fail tells the running process why this one does not take over, and closes t.
func (t *Takeover) Fail(reason error) {
	if !t.decides {
		_ = t.wire.send(message{Kind: kindFailed, Reason: reason.Error()})
	}
	t.Close()
}

// Close closes the sockets that nobody has taken, and, unless this process decides, the
// connection: the running process goes on.
func (t *Takeover) Close() {
	for name, f := range t.Sockets {
		_ = f.Close()
		delete(t.Sockets, name)
	}
	if !t.decides {
		t.wire.Close()
		t.followers.close()
	}
}

// errEnded means that the other process has closed the connection, errTimeout that it has not
// answered in time.
var (
	errEnded   = errors.New("the other process has ended")
	errTimeout = errors.New("the other process has not answered in time")
)
