package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// TestDeploysUnderLoadLoseNothing is the promise that everything else
// serves: 200 keep-alive connections and a few uploads, 50 deploys back and
// forth (200 with PARACHUTE_SOAK), and every request is answered with 2xx by a release that was active at
// some moment between the request's start and its end.
func TestDeploysUnderLoadLoseNothing(t *testing.T) {
	const connections, uploaders = 200, 4
	deploys := soakCount(t, 50, 200)
	p := startProxy(t)
	apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
	deploy(t, p, to(apps[0]))

	// phase counts the beginnings and ends of deploys: while it is 2n, the n-th
	// deploy's app serves alone; while it is 2n+1, that app or the next one does.
	var phase atomic.Int64
	mayAnswer := func(from, to int64) (names []string) {
		for ph := from; ph <= to; ph++ {
			names = append(names, apps[(ph/2)%2].name, apps[((ph+1)/2)%2].name)
		}
		return names
	}

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections + uploaders}, Timeout: patience}
	defer client.CloseIdleConnections()
	upload := make([]byte, 256<<10)
	ctx, stop := context.WithCancel(context.Background())
	var requests, uploads, failed atomic.Int64
	var users sync.WaitGroup
	user := func(counter *atomic.Int64, method string, body []byte) {
		users.Go(func() {
			for ctx.Err() == nil {
				from := phase.Load()
				req, _ := http.NewRequest(method, p.URL()+"/", bytes.NewReader(body))
				resp, err := client.Do(req)
				counter.Add(1)
				if err != nil {
					failed.Add(1)
					t.Errorf("%s: %v", method, err)
					return
				}
				answer, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				to := phase.Load()
				if err != nil || resp.StatusCode != http.StatusOK || !slices.Contains(mayAnswer(from, to), string(answer)) {
					failed.Add(1)
					t.Errorf("%s in phases %d to %d: %s %q %v", method, from, to, resp.Status, answer, err)
					return
				}
			}
		})
	}
	for range connections {
		user(&requests, http.MethodGet, nil)
	}
	for range uploaders {
		user(&uploads, http.MethodPost, upload)
	}

	for i := 1; i <= deploys; i++ {
		phase.Add(1)
		status := deploy(t, p, to(apps[i%2]))
		phase.Add(1)
		if status.Release != i+1 {
			t.Fatalf("deploy %d made release %d", i, status.Release)
		}
	}
	stop()
	users.Wait()
	t.Logf("%d deploys, %d requests, %d uploads, %d failed", deploys, requests.Load(), uploads.Load(), failed.Load())
	if requests.Load() < 10*connections || uploads.Load() < uploaders {
		t.Errorf("too little load to show anything")
	}
}

// slowApp answers /slow when release is closed, and tells when such a request has
// arrived.
func slowApp(t *testing.T, name string) (a *app, arrived <-chan struct{}, release chan struct{}) {
	entered, release := make(chan struct{}, 100), make(chan struct{})
	a = startApp(t, name, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, name)
	})
	return a, entered, release
}

// inBackground makes a request and delivers its answer.
func inBackground(t *testing.T, url string) <-chan string {
	answer := make(chan string, 1)
	go func() {
		resp, err := (&http.Client{Timeout: 2 * patience}).Get(url)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(resp.StatusCode, " ", string(body), " ", err)
	}()
	return answer
}

// Traps 2 and 3.
func TestDeployWaitsForTheOldReleaseAndNobodyElseDoes(t *testing.T) {
	p := startProxy(t)
	old, arrived, release := slowApp(t, "old")
	next := startApp(t, "next", nil)
	deploy(t, p, to(old))
	slow := inBackground(t, p.URL()+"/slow")
	arrive(t, "the slow request", arrived)

	deployed := make(chan error, 1)
	go func() {
		_, err := p.Deploy(context.Background(), to(next))
		deployed <- err
	}()
	waitFor(t, "the switch", func() bool {
		s := services(t, p)
		return len(s) == 1 && s[0].Active.Release == 2
	})
	// The old release drains now: nobody else may feel it.
	latencies := make([]time.Duration, 200)
	for i := range latencies {
		begin := time.Now()
		if _, body := get(t, p, "", "/"); body != "next" {
			t.Fatalf("after the switch %q answered", body)
		}
		latencies[i] = time.Since(begin)
	}
	slices.Sort(latencies)
	if p99 := latencies[len(latencies)*99/100]; p99 > time.Second {
		t.Errorf("p99 of the others is %s while one request drains", p99)
	}
	select {
	case err := <-deployed:
		t.Fatalf("deploy returned (%v) while the old release had a request", err)
	default:
	}
	close(release)
	if got := arrive(t, "the slow answer", slow); got != "200 old <nil>" {
		t.Errorf("the slow request got %q", got)
	}
	must(t, arrive(t, "the end of the deploy", deployed))
}

// Trap 4.
func TestNewerDeployWinsOverASlowlyBootingOlderOne(t *testing.T) {
	p := startProxy(t)
	first, older, newer := startApp(t, "first", nil), startApp(t, "older", nil), startApp(t, "newer", nil)
	deploy(t, p, to(first))
	older.unready.Store(true)

	cmd, err := p.Command("deploy", older.addr())
	must(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	waitFor(t, "the older deploy", func() bool { return len(services(t, p)[0].Deployments) == 1 })
	if r := run(t, p, "deploy", newer.addr()); r.Code != 0 {
		t.Fatalf("the newer deploy ended with %d: %s", r.Code, r.Stderr)
	}
	older.unready.Store(false)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 4 || !strings.Contains(stderr.String(), "newer deployment") {
		t.Errorf("the older deploy ended with %d: %s", code, stderr.String())
	}
	if _, body := get(t, p, "", "/"); body != "newer" {
		t.Errorf("%q serves", body)
	}
}

// Trap 5.
func TestKilledCommandSwitchesNothing(t *testing.T) {
	p := startProxy(t)
	first, next := startApp(t, "first", nil), startApp(t, "next", nil)
	deploy(t, p, to(first))
	next.unready.Store(true)

	cmd, err := p.Command("deploy", next.addr())
	must(t, err)
	must(t, cmd.Start())
	waitFor(t, "the deploy", func() bool { return len(services(t, p)[0].Deployments) == 1 })
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	waitFor(t, "the end of the deployment", func() bool { return len(services(t, p)[0].Deployments) == 0 })
	next.unready.Store(false)
	if s := services(t, p)[0]; s.Active.Release != 1 {
		t.Errorf("v%d serves", s.Active.Release)
	}
}

func TestDetachedDeployOutlivesItsCommand(t *testing.T) {
	p := startProxy(t)
	first, next := startApp(t, "first", nil), startApp(t, "next", nil)
	deploy(t, p, to(first))
	next.unready.Store(true)
	if r := run(t, p, "deploy", next.addr(), "--detach"); r.Code != 0 || !strings.Contains(r.Stdout, "accepted") {
		t.Fatalf("%d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	next.unready.Store(false)
	waitFor(t, "the switch", func() bool { return services(t, p)[0].Active.Release == 2 })
}

// Trap 6.
func TestRemoveDrains(t *testing.T) {
	p := startProxy(t)
	a, arrived, release := slowApp(t, "a")
	deploy(t, p, to(a))
	slow := inBackground(t, p.URL()+"/slow")
	arrive(t, "the slow request", arrived)

	cmd, err := p.Command("remove", "default")
	must(t, err)
	must(t, cmd.Start())
	waitFor(t, "the route to be gone", func() bool {
		resp, _ := get(t, p, "", "/")
		return resp.StatusCode == http.StatusNotFound
	})
	close(release)
	if got := arrive(t, "the slow answer", slow); got != "200 a <nil>" {
		t.Errorf("the slow request got %q", got)
	}
	must(t, cmd.Wait())
	if s := services(t, p); len(s) != 0 {
		t.Errorf("%d services are left", len(s))
	}
}

// A request that outlasts the drain timeout is cut, which the command tells.
func TestCutRequestsAreReported(t *testing.T) {
	p := startProxy(t)
	old, arrived, _ := slowApp(t, "old")
	next := startApp(t, "next", nil)
	deploy(t, p, to(old))
	slow := inBackground(t, p.URL()+"/slow")
	arrive(t, "the slow request", arrived)
	r := run(t, p, "deploy", next.addr(), "--drain-timeout", "200ms")
	if r.Code != 0 || !strings.Contains(r.Stderr, "1 request was cut") {
		t.Errorf("deploy ended with %d: %s", r.Code, r.Stderr)
	}
	if got := arrive(t, "the cut answer", slow); !strings.HasPrefix(got, "504") {
		t.Errorf("the cut request got %q", got)
	}
}

// Trap 13: what a connection was used for before says nothing about the next
// request on it.
func TestKeepAliveConnectionFollowsTheSwitch(t *testing.T) {
	p := startProxy(t)
	first, next := startApp(t, "first", nil), startApp(t, "next", nil)
	deploy(t, p, to(first))
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}
	defer client.CloseIdleConnections()
	ask := func() string {
		resp, err := client.Get(p.URL())
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return string(body)
	}
	if got := ask(); got != "first" {
		t.Fatalf("%q answered", got)
	}
	deploy(t, p, to(next))
	if got := ask(); got != "next" {
		t.Errorf("%q answered on the old connection", got)
	}
}

func services(t *testing.T, p interface {
	Services() ([]api.ServiceStatus, error)
},
) []api.ServiceStatus {
	t.Helper()
	s, err := p.Services()
	must(t, err)
	return s
}
