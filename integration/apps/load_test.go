package apps

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// host is the one that the applications answer for.
const host = "app.test"

// rate is how many requests are made in a second.
const rate = 15

// kinds are the requests that the load makes by turns. An application takes 100 ms for a
// slow one, if it can, so that it is working on the last two at a time.
var kinds = []struct{ method, path string }{
	{http.MethodGet, "/"}, {http.MethodPost, "/"}, {http.MethodGet, "/slow"}, {http.MethodPost, "/slow"},
}

// exchange is what became of a request.
type exchange struct {
	method, path string
	begin, end   time.Time
	// problem is empty if the answer was whole and good.
	problem string
	body    string
}

func (e exchange) String() string {
	return fmt.Sprintf("%s %s, which took %s: %s", e.method, e.path, e.end.Sub(e.begin).Round(time.Millisecond), e.problem)
}

// underWay says whether the request was under way at any time between two moments.
func (e exchange) underWay(from, to time.Time) bool {
	return e.begin.Before(to) && e.end.After(from)
}

// load makes requests at a steady rate, however long they take.
type load struct {
	client *http.Client
	url    string
	stop   chan struct{}
	users  sync.WaitGroup

	mu        sync.Mutex // guards exchanges and inFlight
	exchanges []exchange
	inFlight  map[string]int // by method, the slow ones
}

func startLoad(url string) *load {
	l := &load{
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: rate}},
		url:    url, stop: make(chan struct{}), inFlight: make(map[string]int),
	}
	l.users.Go(func() {
		ticks := time.NewTicker(time.Second / rate)
		defer ticks.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticks.C:
				kind := kinds[i%len(kinds)]
				l.users.Go(func() { l.exchange(kind.method, kind.path) })
			case <-l.stop:
				return
			}
		}
	})
	return l
}

func (l *load) exchange(method, path string) {
	slow := 0
	if path == "/slow" {
		slow = 1
	}
	l.mu.Lock()
	l.inFlight[method] += slow
	l.mu.Unlock()
	e := exchange{method: method, path: path, begin: time.Now()}
	e.body, e.problem = l.ask(method, path)
	e.end = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight[method] -= slow
	l.exchanges = append(l.exchanges, e)
}

// waitForSlow waits until the application is busy with a request that may be sent again
// and with one that may not.
func (l *load) waitForSlow(t *testing.T) {
	t.Helper()
	waitFor(t, "slow requests", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.inFlight[http.MethodGet] > 0 && l.inFlight[http.MethodPost] > 0
	})
}

func (l *load) ask(method, path string) (body, problem string) {
	var content io.Reader
	if method == http.MethodPost {
		content = strings.NewReader("some")
	}
	req, err := http.NewRequest(method, l.url+path, content)
	if err != nil {
		return "", err.Error()
	}
	req.Host = host
	req.Header.Set("X-Forwarded-Proto", "https")
	resp, err := l.client.Do(req)
	if err != nil {
		return "", err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err.Error()
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Sprintf("%s: %.200s", resp.Status, b)
	}
	return string(b), ""
}

// waitForMore waits until n more requests have ended.
func (l *load) waitForMore(t *testing.T, n int) {
	t.Helper()
	seen := l.ended()
	waitFor(t, "requests", func() bool { return l.ended() >= seen+n })
}

func (l *load) ended() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.exchanges)
}

// end lets all requests end and returns them.
func (l *load) end() []exchange {
	close(l.stop)
	l.users.Wait()
	l.client.CloseIdleConnections()
	return slices.Clone(l.exchanges)
}
