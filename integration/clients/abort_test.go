package clients

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Trap 34: a client that goes away is told to the app and to the log, and is nobody
// else's fault, whether it waits for the answer, sends or receives.
func TestClientThatGoesAwayIsNobodysFault(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]struct {
		begin func(w wire)
		// also is what may be logged but 499: that the body broke off, or the status
		// of an answer that has begun.
		also int
	}{
		"waiting":   {func(w wire) { w.begin("GET", "/silent", false) }, 499},
		"sending":   {func(w wire) { w.begin("POST", "/upload", true); w.send("some") }, 400},
		"receiving": {func(w wire) { w.begin("GET", "/endless", false) }, 200},
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				arrived, left := make(chan struct{}), make(chan struct{})
				a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
					defer close(left)
					if r.URL.Path == "/endless" {
						_, _ = w.Write(pattern(100_000))
					}
					if r.URL.Path == "/upload" {
						_, _ = io.ReadFull(r.Body, make([]byte, 4))
					}
					close(arrived)
					for r.URL.Path == "/endless" {
						if _, err := w.Write(pattern(100_000)); err != nil {
							return
						}
					}
					_, _ = io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
				})
				x := newSite(t, logged.Get(t), a.addr())
				w := x.dialWire(t, protocol)
				when.begin(w)
				arrive(t, "the request", arrived)
				w.abort()
				arrive(t, "the app to be told", left)
				waitFor(t, "the access log", func() bool { return len(x.statuses(t)) == 1 })
				if got := x.statuses(t)[0]; got != when.also && got != 499 {
					t.Errorf("the log says %d instead of 499 or %d", got, when.also)
				}
				x.wantUnharmed(t)
			})
		})
	}
}

// Trap 36: what uploads need is given back when they are aborted.
func TestAbortedUploadsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	t.Run("streamed", func(t *testing.T) {
		t.Parallel()
		a := startApp(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
		abortUploads(t, 1000, api.DeployRequest{Targets: []string{a.addr()}}, func(x *site) func() bool {
			seen := a.requests.Load()
			return func() bool { return a.requests.Load() > seen || x.status(t).Active.Requests > 0 }
		})
	})
	t.Run("buffered", func(t *testing.T) {
		t.Parallel()
		a := startApp(t, named("app"))
		req := api.DeployRequest{Targets: []string{a.addr()}, BufferRequests: true, BufferMemory: new(api.Size(1 << 10))}
		abortUploads(t, 200, req, func(x *site) func() bool {
			none := `parachute_requests_buffering{service="` + x.host + `"} 0`
			return func() bool { return !strings.Contains(x.metrics(t), none) }
		})
		if n := a.requests.Load(); n > 0 {
			t.Errorf("%d uploads that broke off have come to the app", n)
		}
	})
}

// abortUploads aborts uploads to a service of its own, half of them when they have begun, and checks
// that they leave nothing. What begun returns when an upload has been sent reports whether the proxy
// has it.
func abortUploads(t *testing.T, uploads int, req api.DeployRequest, begun func(x *site) func() bool) {
	const warmUp, slack = 100, 10
	temp := t.TempDir()
	s := startServer(t, func(s *server) { s.Env = append(s.Env, "TMPDIR="+temp) })
	x := newSiteWith(t, s, req)
	abort := func(n int) {
		for i := range n {
			w := x.dialWire(t, protocols[i%len(protocols)])
			w.begin("POST", "/", true, field{"Content-Length", "1000000"})
			w.send(strings.Repeat("x", 10_000))
			if i%2 == 0 {
				waitFor(t, "the request", begun(x))
			}
			w.abort()
			closeWire(w)
		}
		waitFor(t, "the requests to end", func() bool { return x.status(t).Active.Requests == 0 })
	}
	abort(warmUp)
	var fds, goroutines int
	settled := func() bool {
		lastFDs, lastGoroutines := fds, goroutines
		fds, goroutines = s.descriptors(t), s.goroutines(t)
		return fds == lastFDs && goroutines == lastGoroutines
	}
	waitFor(t, "the proxy to settle", settled)
	fdsBefore, goroutinesBefore := fds, goroutines
	abort(uploads)
	waitFor(t, fmt.Sprintf("%d descriptors and %d goroutines to be given back", fdsBefore, goroutinesBefore), func() bool {
		fds, goroutines = s.descriptors(t), s.goroutines(t)
		return fds <= fdsBefore+slack && goroutines <= goroutinesBefore+slack
	})
	t.Logf("descriptors: %d, then %d; goroutines: %d, then %d", fdsBefore, fds, goroutinesBefore, goroutines)
	if text := s.metrics(t); !strings.Contains(text, `parachute_buffered_bytes{place="disk"} 0`) || !strings.Contains(text, `parachute_buffered_bytes{place="memory"} 0`) {
		t.Error("bodies are still buffered")
	}
	left, err := os.ReadDir(temp)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%d temporary files are left, such as %s", len(left), left[0].Name())
	}
	x.wantUnharmed(t)
}

// closeWire ends the connection.
func closeWire(w wire) {
	switch w := w.(type) {
	case *h1Wire:
		w.Close()
	case *h2Wire:
		w.conn.Close()
	case *h3Wire:
		_ = w.conn.CloseWithError(0x100, "")
	}
}

// metrics returns what the proxy tells of itself.
func (s *server) metrics(t *testing.T) string {
	t.Helper()
	resp, err := s.HTTP().Get("http://localhost/metrics")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(text)
}

func (s *server) descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(s.PID()), "fd"))
	must(t, err)
	return len(fds)
}

func (s *server) goroutines(t *testing.T) (n int) {
	t.Helper()
	resp, err := s.HTTP().Get("http://localhost/debug/pprof/goroutine?debug=1")
	must(t, err)
	defer resp.Body.Close()
	if _, err := fmt.Fscanf(resp.Body, "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("the profile of goroutines: %v", err)
	}
	return n
}
