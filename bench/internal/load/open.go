package load

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Open is an open loop: requests are sent at moments that do not depend on when
// earlier ones are answered, as the requests of many independent users are. Its
// latencies count from the moment at which a request was due, so one that has to
// wait for a connection, because all are stuck behind a slow answer, is counted
// with its wait. A closed loop would not have sent it and would have missed it
// (coordinated omission).
type Open struct {
	due   chan time.Time
	timer *os.File
	ended chan struct{} // closed when nothing more becomes due
	users sync.WaitGroup
	counts

	stop atomic.Bool
	// since is when the latencies begin that are wanted, in nanoseconds of Unix
	// time.
	since atomic.Int64

	// latencyMu guards latencies.
	latencyMu sync.Mutex
	latencies []time.Duration
}

// maxQueue bounds how many requests may be due at the same time. A proxy that is
// so far behind will not catch up.
const maxQueue = 100_000

// StartOpen starts to send rate requests per second over n connections. The time
// between two of them is random (exponential), the same for every proxy that gets
// the same seed.
func StartOpen(server Server, n int, rate float64, request Request, seed uint64) (*Open, error) {
	// A timer of the kernel's that the runtime polls like a connection: the
	// runtime's own are rounded up to a millisecond when nothing else happens.
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating a timer: %w", err)
	}
	l := &Open{
		due:   make(chan time.Time, maxQueue),
		timer: os.NewFile(uintptr(fd), "timerfd"),
		ended: make(chan struct{}),
	}
	l.since.Store(time.Now().UnixNano())
	message := request.Bytes()
	for range n {
		l.users.Go(func() { l.user(server, message, request.WantLength) })
	}
	go l.pace(rate, rand.New(rand.NewPCG(seed, 1)))
	return l, nil
}

// Reset forgets the latencies so far.
func (l *Open) Reset() {
	l.since.Store(time.Now().UnixNano())
	l.latencyMu.Lock()
	defer l.latencyMu.Unlock()
	l.latencies = l.latencies[:0]
}

// Stop waits for the requests that are under way.
func (l *Open) Stop() Result {
	l.stop.Store(true)
	<-l.ended
	l.users.Wait()
	return l.result()
}

// Latencies returns how long requests took that became due after the last Reset.
// It is to be called after Stop.
func (l *Open) Latencies() []time.Duration { return l.latencies }

// pace makes requests due until the load is stopped.
func (l *Open) pace(rate float64, random *rand.Rand) {
	defer close(l.ended)
	defer close(l.due)
	defer l.timer.Close()
	next := time.Now()
	for !l.stop.Load() {
		next = next.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		if err := l.sleepUntil(next); err != nil {
			l.count(err)
			return
		}
		select {
		case l.due <- next:
		default:
			l.count(fmt.Errorf("%d requests wait to be sent", maxQueue))
			return
		}
	}
}

func (l *Open) sleepUntil(t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		return nil
	}
	// TimerfdSettime wants the number of a descriptor, and File.Fd would make the
	// file a blocking one.
	raw, err := l.timer.SyscallConn()
	if err != nil {
		return err
	}
	setting := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.TimerfdSettime(int(fd), 0, &setting, nil) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("setting a timer: %w", err)
	}
	var expirations [8]byte
	if _, err := l.timer.Read(expirations[:]); err != nil {
		return fmt.Errorf("waiting for a timer: %w", err)
	}
	return nil
}

func (l *Open) user(server Server, message []byte, want int64) {
	var c *client
	for due := range l.due {
		err := error(nil)
		if c == nil {
			c, err = dial(server)
		}
		if err == nil {
			var again bool
			if again, err = c.exchange(message, want); !again {
				c.Close()
				c = nil
			}
		}
		l.count(err)
		if err == nil && due.UnixNano() >= l.since.Load() {
			latency := time.Since(due)
			l.latencyMu.Lock()
			l.latencies = append(l.latencies, latency)
			l.latencyMu.Unlock()
		}
	}
	if c != nil {
		c.conn.Close()
	}
}
