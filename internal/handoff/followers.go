package handoff

import (
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
)

// Followers are the processes that follow this one: they are told of all changes, and their drains
// are waited for. The zero value has none.
type Followers struct {
	// mu guards all.
	mu  sync.Mutex
	all []*follower
}

// connect adds the process whose control socket is at path. One that is gone is left out.
func (f *Followers) connect(path string) {
	w, err := dial(path, dialTimeout)
	if err != nil {
		return
	}
	if err := w.send(message{Kind: kindFollow}); err != nil {
		w.Close()
		return
	}
	f.add(w, path)
}

// Controls returns the control sockets of all of them. One that has none is told to end: the next
// process could not tell it what is deployed.
func (f *Followers) Controls() (paths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = withoutEnded(f.all)
	for _, one := range f.all {
		if one.control == "" {
			_ = one.wire.send(message{Kind: kindBye})
			continue
		}
		paths = append(paths, one.control)
	}
	return paths
}

// add adds the process at the other end of w, whose control socket is at a path.
func (f *Followers) add(w *wire, control string) {
	one := &follower{wire: w, control: control, calls: make(map[int]chan message), ended: make(chan struct{})}
	f.mu.Lock()
	f.all = append(f.all, one)
	f.mu.Unlock()
	go one.read()
}

// each calls do for every process that follows, all at once, and waits for all.
func (f *Followers) each(do func(*follower)) {
	f.mu.Lock()
	f.all = withoutEnded(f.all)
	all := append([]*follower(nil), f.all...)
	f.mu.Unlock()
	var calls sync.WaitGroup
	for _, one := range all {
		calls.Go(func() { do(one) })
	}
	calls.Wait()
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
// that does not in time is told to end, since its clients would get what is no more.
func (f *Followers) Apply(service string, document []byte) {
	f.each(func(one *follower) {
		m, err := one.call(message{Kind: kindApply, Service: service, Document: document}, applyTimeout, nil)
		if err != nil || m.Error != "" {
			_ = one.wire.send(message{Kind: kindBye})
		}
	})
}

// Drain waits until they hold nothing of a release, and returns how it has drained in each of
// them that held something. progress is told now and then of what is left in all of them.
func (f *Followers) Drain(service string, release int, progress func(requests, streams int)) (all []api.Drain) {
	var mu sync.Mutex
	left := make(map[*follower]message)
	f.each(func(one *follower) {
		m, err := one.call(message{Kind: kindDrain, Service: service, Release: release}, 0, func(m message) {
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
		mu.Lock()
		defer mu.Unlock()
		delete(left, one)
		if err == nil && m.Drain != nil && m.Drain.Requests+m.Drain.Streams > 0 {
			all = append(all, *m.Drain)
		}
	})
	return all
}

// Processes returns what each of them still has, without those that do not answer in time.
func (f *Followers) Processes() (all []api.Process) {
	var mu sync.Mutex
	f.each(func(one *follower) {
		m, err := one.call(message{Kind: kindStatus}, statusTimeout, nil)
		if err == nil && m.Process != nil {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, *m.Process)
		}
	})
	return all
}

// Bye tells all of them that this process ends, and with it the proxy: they end, too.
func (f *Followers) Bye() {
	f.each(func(one *follower) { _ = one.wire.send(message{Kind: kindBye}) })
}

// follower is a process that follows this one.
type follower struct {
	wire *wire
	// control is the path of its control socket.
	control string
	// ended is closed when the process has, or has closed the connection.
	ended chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// calls are those that wait for answers, by ID.
	calls map[int]chan message
	last  int
}

// call returns the answer to a call, once it is done. It waits no longer than timeout, or for as
// long as the process lives if that is 0. progress is told of what comes before, if it is not
// nil.
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
	if err := f.wire.send(m); err != nil {
		return message{}, err
	}
	var over <-chan time.Time
	if timeout > 0 {
		over = time.After(timeout)
	}
	for {
		select {
		case answer := <-answers:
			if answer.Kind == kindDone {
				return answer, nil
			}
			if progress != nil {
				progress(answer)
			}
		case <-f.ended:
			return message{}, errEnded
		case <-over:
			return message{}, errTimeout
		}
	}
}

// read hands answers to the calls that wait for them, until the process has ended.
func (f *follower) read() {
	defer f.wire.Close()
	defer close(f.ended)
	for {
		m, err := f.wire.receive(0)
		if err != nil {
			return
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
