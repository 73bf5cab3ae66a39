package real

import (
	"fmt"
	"sync"
	"time"
)

// load sends ten requests a second to a host, of which every third takes 300 ms.
type load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	requests int
	lost     []string
	versions map[string]int
}

func startLoad(host string) *load {
	l := &load{stop: make(chan struct{}), versions: make(map[string]int)}
	l.done.Go(func() {
		ticks := time.NewTicker(100 * time.Millisecond)
		defer ticks.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			case <-ticks.C:
			}
			path := "/"
			if n%3 == 0 {
				path = "/slow?d=300ms"
			}
			l.done.Go(func() { l.count(get(host, path)) })
		}
	})
	return l
}

func (l *load) count(a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	l.versions[a.version]++
	if a.status != 200 {
		l.lost = append(l.lost, fmt.Sprintf("%d %v %q", a.status, a.err, a.body))
	}
}

// end waits for the last answers, and says how many requests there were.
func (l *load) end() string {
	close(l.stop)
	l.done.Wait()
	return fmt.Sprintf("%d requests, %d lost %v, answered by %v", l.requests, len(l.lost), l.lost[:min(3, len(l.lost))], l.versions)
}
