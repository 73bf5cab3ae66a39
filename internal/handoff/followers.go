package handoff

import (
	"cmp"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// applyTimeout bounds how long a commit waits for a process that follows. One that takes
	// longer is given up on: it is told to end.
	applyTimeout = 2 * time.Second
	// statusTimeout bounds how long a list waits.
	statusTimeout = time.Second
	// maxSilence is how long a process may say nothing while it drains: it tells every second what
	// is left.
	maxSilence = 15 * time.Second
	// endPause is how often is looked whether a process that was told to end has.
	endPause = time.Second
)

// Followers are the processes that follow this one: they are told of all changes, and their drains
// are waited for. The zero value has none.
type Followers struct {
	// mu guards all.
	mu  sync.Mutex
	all []*follower
	// ended is told of each one that has ended; nil if nobody is.
	ended func(api.ProcessIdentity)
	// silence is maxSilence, if not 0.
	silence time.Duration
}

// Follower is a process that follows the one that offers.
type Follower struct {
	// Control is the path of its control socket.
	Control string
	// Process says which one it is; the zero value if that is not known.
	Process api.ProcessIdentity
}

// connect adds a process. One that is gone is left out.
func (f *Followers) connect(to Follower) {
	w, err := dial(to.Control, dialTimeout)
	if err != nil {
		return
	}
	if err := w.send(message{Kind: kindFollow}); err != nil {
		w.Close()
		return
	}
	one := f.add(w, to.Control, to.Process)
	m, err := one.call(message{Kind: kindStatus}, statusTimeout, nil) // then it has heard the first
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && m.Process != nil && one.isUnknown() {
		one.process = m.Process.ProcessIdentity
	}
}

// OnEnd has a function be told of each one that ends from now on.
func (f *Followers) OnEnd(ended func(api.ProcessIdentity)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = ended
}

// Generations returns those of the processes that have not ended; 0 for one of which it is not known. Unlike their numbers, they
// tell processes apart that run in different containers.
func (f *Followers) Generations() (all []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range withoutEnded(f.all) {
		all = append(all, one.process.Generation)
	}
	return all
}

// AwaitEnd waits until all of them have ended, for at most a time.
func (f *Followers) AwaitEnd(timeout time.Duration) {
	f.mu.Lock()
	all := slices.Clone(f.all)
	f.mu.Unlock()
	over := time.NewTimer(timeout)
	defer over.Stop()
	for _, one := range all {
		select {
		case <-one.ended:
		case <-over.C:
			return
		}
	}
}

// tellEnd tells that one has ended.
func (f *Followers) tellEnd(one *follower) {
	f.mu.Lock()
	ended, process, isUnknown := f.ended, one.process, one.isUnknown()
	f.mu.Unlock()
	if ended != nil && !isUnknown {
		ended(process)
	}
}

// close closes the connections to all of them.
func (f *Followers) close() {
	_ = f.each(func(one *follower) error { return one.wire.conn.Close() })
}

// All returns all of them, for the next process. One that has no control socket is told to end: the next
// process could not tell it what is deployed.
func (f *Followers) All() (all []Follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = withoutEnded(f.all)
	for _, one := range f.all {
		if one.control == "" {
			_ = one.wire.send(message{Kind: kindBye})
			continue
		}
		all = append(all, Follower{one.control, one.process})
	}
	return all
}

// add adds the process at the other end of w, whose control socket is at a path.
func (f *Followers) add(w *wire, control string, process api.ProcessIdentity) *follower {
	one := &follower{wire: w, control: control, process: process, calls: make(map[int]chan message), ended: make(chan struct{})}
	f.mu.Lock()
	f.all = append(f.all, one)
	f.mu.Unlock()
	go func() {
		if one.read() {
			f.tellEnd(one)
		}
	}()
	return one
}

// each calls do for every process that follows, all at once, and waits for all. It returns their
// errors.
func (f *Followers) each(do func(*follower) error) error {
	f.mu.Lock()
	f.all = withoutEnded(f.all)
	all := append([]*follower(nil), f.all...)
	f.mu.Unlock()
	failed := make([]error, len(all))
	var calls sync.WaitGroup
	for i, one := range all {
		calls.Go(func() { failed[i] = do(one) })
	}
	calls.Wait()
	return errors.Join(failed...)
}

func withoutEnded(all []*follower) (left []*follower) {
	for _, one := range all {
		select {
		case <-one.ended:
		default:
			left = append(left, one)
		}
	}
	return left
}

// Apply has all of them make a service what a document says, or has it go if there is none. One
// that does not in time is told to end, since its clients would get what is no more; the error says
// why.
func (f *Followers) Apply(service string, document []byte) error {
	return f.each(func(one *follower) error {
		m, err := one.call(message{Kind: kindApply, Service: service, Document: document}, applyTimeout, nil)
		if err == nil && m.Error != "" {
			err = errors.New(m.Error)
		}
		if err != nil && err != errEnded {
			_ = one.wire.send(message{Kind: kindBye})
			return err
		}
		return nil
	})
}

// Drain waits until they hold nothing of a release, or for 0 of any that has left its service, and returns how it
// has drained in each of them that held something. progress is told now and then of what is left in all of them. One that
// cannot drain is waited for until it has ended, and not at all if it says nothing any more: the
// error says so.
func (f *Followers) Drain(service string, release int, progress func(requests, streams int)) (all []api.Drain, err error) {
	silence := cmp.Or(f.silence, maxSilence)
	var mu sync.Mutex
	left := make(map[*follower]message)
	err = f.each(func(one *follower) error {
		m, err := one.call(message{Kind: kindDrain, Service: service, Release: release}, silence, func(m message) {
			mu.Lock()
			defer mu.Unlock()
			left[one] = m
			requests, streams := 0, 0
			for _, m := range left {
				requests += m.Requests
				streams += m.Streams
			}
			progress(requests, streams)
		})
		if err == nil && m.Error != "" {
			err = one.awaitEnd(silence)
		}
		mu.Lock()
		defer mu.Unlock()
		delete(left, one)
		if err == nil && m.Drain != nil && m.Drain.Requests+m.Drain.Streams > 0 {
			all = append(all, *m.Drain)
		}
		if err == errEnded {
			return nil
		}
		return err
	})
	return all, err
}

// Processes returns what each of them still has, the newest first, without those that do not answer in
// time.
func (f *Followers) Processes() (all []api.Process) {
	var mu sync.Mutex
	_ = f.each(func(one *follower) error {
		m, err := one.call(message{Kind: kindStatus}, statusTimeout, nil)
		if err == nil && m.Process != nil {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, *m.Process)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b api.Process) int { return cmp.Compare(b.Generation, a.Generation) })
	return all
}

// Bye tells all of them that this process ends, and with it the proxy: they end, too.
func (f *Followers) Bye() {
	_ = f.each(func(one *follower) error { return one.wire.send(message{Kind: kindBye}) })
}

// Left tells all of them that this process ends, and that another one leads. Those that it does not
// reach end, too.
func (f *Followers) Left() {
	_ = f.each(func(one *follower) error { return one.wire.send(message{Kind: kindLeft}) })
}

// follower is a process that follows this one.
type follower struct {
	wire *wire
	// control is the path of its control socket.
	control string
	// process says which one it is. The mu of Followers guards it.
	process api.ProcessIdentity
	// ended is closed when the process has, or has closed the connection.
	ended chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// calls are those that wait for answers, by ID.
	calls map[int]chan message
	last  int
}

// isUnknown reports whether it is not known which process it is. The mu of Followers must be held.
func (f *follower) isUnknown() bool { return f.process == api.ProcessIdentity{} }

// call returns the answer to a call, once it is done. It gives up when the process has said nothing
// of it for the timeout. progress is told of what comes before, if it is not nil.
func (f *follower) call(m message, timeout time.Duration, progress func(message)) (message, error) {
	answers := make(chan message, 1)
	f.mu.Lock()
	f.last++
	m.ID = f.last
	f.calls[m.ID] = answers
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.calls, m.ID)
		f.mu.Unlock()
	}()
	switch err := f.wire.send(m); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return message{}, errTimeout
	case err != nil:
		return message{}, errEnded
	}
	over := time.NewTimer(timeout)
	defer over.Stop()
	for {
		select {
		case answer := <-answers:
			if answer.Kind == kindDone {
				return answer, nil
			}
			over.Reset(timeout)
			if progress != nil {
				progress(answer)
			}
		case <-f.ended:
			return message{}, errEnded
		case <-over.C:
			return message{}, errTimeout
		}
	}
}

// awaitEnd waits until the process, which was told to end, has. It gives up on one that says nothing.
func (f *follower) awaitEnd(silence time.Duration) error {
	for {
		if _, err := f.call(message{Kind: kindStatus}, silence, nil); err != nil {
			return err
		}
		select {
		case <-f.ended:
			return nil
		case <-time.After(endPause):
		}
	}
}

// read hands answers to the calls that wait for them. It returns true when the process has ended,
// and false when this one has closed the connection.
func (f *follower) read() bool {
	defer f.wire.Close()
	defer close(f.ended)
	for {
		m, err := f.wire.receive(0)
		if err != nil {
			hasEnded := !errors.Is(err, net.ErrClosed)
			if hasEnded && f.control != "" {
				_ = os.Remove(f.control) // which one that was killed has left
			}
			return hasEnded
		}
		f.mu.Lock()
		answers := f.calls[m.ID]
		f.mu.Unlock()
		if answers == nil {
			continue
		}
		if m.Kind == kindProgress {
			select { // the next one says it better
			case answers <- m:
			default:
			}
			continue
		}
		select {
		case answers <- m:
		case <-answers: // progress that nobody has heard yet
			answers <- m
		}
	}
}
