package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// fakeHandlers makes chains of one word each:
//
//	refuse    answers 403
//	answer    answers by itself
//	twice     has the request forwarded twice
//	abort     has the connection closed
//	panic     panics
//	user      says who the client is
//	read      reads the body
//	path X    has the app asked for another path
//	wait      returns when the client has gone
//	late      fails when the answer is complete
//
// Any other word lets requests through. Every answer says which word and which host it was.
type fakeHandlers struct {
	name string
	// broken are words that cannot be made.
	broken map[string]bool
	// made and closed count the chains, misused the requests that came to a closed one.
	made, closed, misused atomic.Int64
	// inside receives when a request waits in a handler.
	inside chan struct{}
	// compiling, if not nil, is called before a chain is made.
	compiling func(service string)
}

func (h *fakeHandlers) Adapt(service string, o *api.Options) (json.RawMessage, error) {
	if o.With == "nonsense" {
		return nil, api.Invalid("line 1: nonsense")
	}
	adapted, err := json.Marshal(map[string]string{"word": o.With})
	if err != nil {
		return nil, err
	}
	chain, err := h.Compile(service, adapted)
	if err != nil {
		return nil, api.Invalid("%v", err)
	}
	chain.Close()
	return adapted, nil
}

func (h *fakeHandlers) Compile(service string, adapted json.RawMessage) (Chain, error) {
	if h.compiling != nil {
		h.compiling(service)
	}
	var a struct{ Word string }
	if err := json.Unmarshal(adapted, &a); err != nil {
		return nil, err
	}
	if h.broken[a.Word] {
		return nil, fmt.Errorf("no such handler: %s", a.Word)
	}
	h.made.Add(1)
	return &fakeChain{host: h, word: a.Word}, nil
}

// open returns the number of chains that are not closed.
func (h *fakeHandlers) open() int64 { return h.made.Load() - h.closed.Load() }

type fakeChain struct {
	host   *fakeHandlers
	word   string
	closed atomic.Bool
}

func (c *fakeChain) Close() {
	if c.closed.Swap(true) {
		panic("closed twice")
	}
	c.host.closed.Add(1)
}

func (c *fakeChain) ServeHTTP(w http.ResponseWriter, r *http.Request, v *Visit) error {
	if c.closed.Load() {
		c.host.misused.Add(1)
	}
	defer func() {
		if c.closed.Load() {
			c.host.misused.Add(1)
		}
	}()
	w.Header().Add("X-Chain", c.host.name+" "+c.word)
	word, more, _ := strings.Cut(c.word, " ")
	switch word {
	case "refuse":
		return &HandlerError{Status: http.StatusForbidden, Err: errors.New("no")}
	case "fail":
		return &HandlerError{Status: http.StatusBadGateway, Err: errors.New("the gateway is away")}
	case "answer":
		w.WriteHeader(http.StatusTeapot)
		_, err := io.WriteString(w, "a handler")
		return err
	case "twice":
		if err := v.Next(discarded{http.Header{}}, r.Clone(r.Context())); err != nil {
			return err
		}
	case "abort":
		panic(http.ErrAbortHandler)
	case "panic":
		panic("a fault")
	case "read":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return &HandlerError{Status: http.StatusInternalServerError, Err: err}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	case "path":
		r.URL.Path, r.RequestURI = more, more
	case "user":
		r.Header.Set("Remote-User", "nobody")
	case "wait":
		c.host.inside <- struct{}{}
		<-r.Context().Done()
		return r.Context().Err()
	case "hold":
		c.host.inside <- struct{}{}
		<-c.host.inside
	case "late":
		_ = v.Next(w, r)
		return errors.New("too late")
	}
	return v.Next(w, r)
}

type discarded struct{ h http.Header }

func (d discarded) Header() http.Header         { return d.h }
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d discarded) WriteHeader(int)             {}

func withHandlers(h Handlers) func(*EngineOptions) { return func(o *EngineOptions) { o.Handlers = h } }

// newFakeHandlers returns handlers that have to be all closed, unless the test's engine still
// has services with some, and never be used when they are.
func newFakeHandlers(t testing.TB) *fakeHandlers {
	h := &fakeHandlers{name: "first", broken: make(map[string]bool), inside: make(chan struct{})}
	t.Cleanup(func() {
		if n := h.misused.Load(); n > 0 {
			t.Errorf("%d requests came to handlers that were closed", n)
		}
	})
	return h
}

// requestWith returns a request to deploy an app with handlers.
func requestWith(with string, service string, apps ...*testkit.App) api.DeployRequest {
	r := requestFor(service, apps...)
	r.With = with
	return r
}

// wantOpen fails the test unless n chains are open, in the end.
func wantOpen(t *testing.T, h *fakeHandlers, n int64) {
	t.Helper()
	deadline := time.Now().Add(testkit.Timeout)
	for h.open() != n {
		if time.Now().After(deadline) {
			t.Fatalf("%d chains are open, want %d", h.open(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRequestsPassTheHandlersOfTheirRelease(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	for _, tt := range []struct {
		with   string
		status int
		body   string
	}{
		{"pass", 200, "app"},
		{"refuse", 403, ""},
		{"answer", 418, "a handler"},
		{"twice", 200, "app"},
		{"late", 200, "app"},
	} {
		e.deploy(requestWith(tt.with, "web", app))
		resp, err := e.client.Do(e.request(http.MethodGet, "any.test", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status || tt.body != "" && string(body) != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.with, resp.StatusCode, body, tt.status, tt.body)
		}
		if got := resp.Header.Get("X-Chain"); got != "first "+tt.with {
			t.Errorf("%s: the answer is from the handlers %q", tt.with, got)
		}
		wantOpen(t, h, 1)
	}
	e.deployPatch(api.Patch{"service": "web", "targets": []string{app.Target}, "with": nil})
	e.wantAnswer("any.test", "/", "app")
	wantOpen(t, h, 0)
	if s, _ := e.Service("web"); s.Active.Requests != 0 {
		t.Errorf("%d requests are in flight", s.Active.Requests)
	}
}

// TestBrokenHandlersChangeNothing: a deploy whose handlers cannot be made is refused at once.
func TestBrokenHandlersChangeNothing(t *testing.T) {
	h := newFakeHandlers(t)
	h.broken["odd"] = true
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	e.deploy(requestWith("pass", "web", app))
	e.settle()
	before := e.picture()
	for _, with := range []string{"odd", "nonsense"} {
		_, err := e.Deploy(requestWith(with, "web", app).Patch())
		wantCode(t, err, api.CodeInvalid)
		_, err = e.Plan(requestWith(with, "web", app).Patch())
		wantCode(t, err, api.CodeInvalid)
	}
	if after := e.picture(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	wantOpen(t, h, 1)
	if _, err := newTestEngine(t).Deploy(requestWith("pass", "web", app).Patch()); api.ErrorCode(err) != api.CodeInvalid {
		t.Errorf("an engine that has no handlers accepts some: %v", err)
	}
}

// TestHandlersAreSwitchedWithTheirRelease 200 times under load: each answer is from the
// handlers and from the app of one release.
func TestHandlersAreSwitchedWithTheirRelease(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	apps := map[string]*testkit.App{"one": testkit.StartApp(t, "one"), "two": testkit.StartApp(t, "two")}
	e.deploy(requestWith("one", "web", apps["one"]))
	over := make(chan struct{})
	var clients sync.WaitGroup
	var answers atomic.Int64
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				resp, err := e.client.Do(e.request(http.MethodGet, "any.test", "/", nil))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if chain := resp.Header.Get("X-Chain"); err != nil || resp.StatusCode != 200 || chain != "first "+string(body) {
					t.Errorf("%d %q with the handlers %q (%v)", resp.StatusCode, body, chain, err)
					return
				}
				answers.Add(1)
			}
		})
	}
	for i := range 200 {
		name := []string{"two", "one"}[i%2]
		r := requestWith(name, "web", apps[name])
		r.Force = true
		e.deploy(r)
	}
	close(over)
	clients.Wait()
	if answers.Load() < 200 {
		t.Errorf("there were only %d answers", answers.Load())
	}
	wantOpen(t, h, 1)
	if _, err := e.Remove("web", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, h, 0)
}

// TestHandlersStayUntilTheirRequestsAreDone: a release that drains keeps its handlers, and a
// reload those that requests are on their way through.
func TestHandlersStayUntilTheirRequestsAreDone(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	e.deploy(requestWith("hold a", "web", app))
	answered := make(chan int, 2)
	ask := func() {
		status, _ := e.get("any.test", "/")
		answered <- status
	}
	go ask()
	testkit.Receive(t, h.inside, "a request in the handlers")
	d := e.start(requestWith("pass", "web", app))
	await(t, d, api.EventDraining, 1)
	e.wantAnswer("any.test", "/", "app") // by the next release
	next := newFakeHandlers(t)
	next.name = "second"
	if err := e.SetHandlers(next, false); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, h, 1)
	h.inside <- struct{}{}
	if status := testkit.Receive(t, answered, "the answer"); status != 200 {
		t.Errorf("status %d", status)
	}
	if _, err := wait(t, d); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, h, 0)
	wantOpen(t, next, 1)
}

// TestReloadMakesAllHandlersAnew under load, also those of deployments that are under way, of
// a canary, and of a release that is ready to serve again.
func TestReloadMakesAllHandlersAnew(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	b.Health.Store(http.StatusServiceUnavailable)
	e.deploy(requestWith("pass", "a", a))
	keep := requestWith("kept", "a", a)
	keep.Keep = true
	e.deploy(keep)
	canary := requestWith("pass", "canary", a)
	canary.Hosts = []string{"canary.test"}
	e.deploy(canary)
	canary.Canary, canary.Detach, canary.With = "50%", true, "canary"
	await(t, e.start(canary), api.EventRollout, 1)
	pending := requestWith("pending", "b", b)
	pending.Hosts = []string{"b.test"}
	d := e.start(pending)
	await(t, d, api.EventProbeFailed, 1)
	wantOpen(t, h, 5)

	stop := e.hammer(4, "any.test", "/")
	hosts := []*fakeHandlers{h}
	for i := range 50 {
		next := newFakeHandlers(t)
		next.name = fmt.Sprint("reload ", i)
		if err := e.SetHandlers(next, false); err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, next)
	}
	stop()
	last := hosts[len(hosts)-1]
	for _, host := range hosts[:len(hosts)-1] {
		wantOpen(t, host, 0)
	}
	wantOpen(t, last, 5)
	b.Health.Store(http.StatusOK)
	if _, err := wait(t, d); err != nil {
		t.Fatal(err)
	}
	resp, err := e.client.Do(e.request(http.MethodGet, "b.test", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("X-Chain"); got != "reload 49 pending" {
		t.Errorf("the release that was probed meanwhile has the handlers %q", got)
	}
	if _, err := e.rollback("a", api.RollbackRequest{}); err != nil {
		t.Fatal(err)
	}
	resp, err = e.client.Do(e.request(http.MethodGet, "any.test", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("X-Chain"); got != "reload 49 pass" {
		t.Errorf("the release that was gone back to has the handlers %q", got)
	}
}

// TestDeploysDuringReloads: whichever is first, a release has the handlers of the newest host.
func TestDeploysDuringReloads(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	e.deploy(requestWith("pass", "web", app))
	stop := e.hammer(2, "any.test", "/")
	over := make(chan struct{})
	hosts := []*fakeHandlers{h}
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			next := newFakeHandlers(t)
			next.name = fmt.Sprint("reload ", i)
			if err := e.SetHandlers(next, false); err != nil {
				t.Error(err)
			}
			hosts = append(hosts, next)
		}
	})
	for i := range 40 {
		r := requestWith(fmt.Sprint("deploy ", i), "web", app)
		r.Force = true
		e.deploy(r)
	}
	close(over)
	reloads.Wait()
	stop()
	for _, host := range hosts[:len(hosts)-1] {
		wantOpen(t, host, 0)
	}
	wantOpen(t, hosts[len(hosts)-1], 1)
}

// TestReloadThatCannotMakeHandlersIsRefused and names the service.
func TestReloadThatCannotMakeHandlersIsRefused(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	e.deploy(requestWith("pass", "web", app))
	other := requestWith("rare", "other", app)
	other.Hosts = []string{"other.test"}
	e.deploy(other)
	without := newFakeHandlers(t)
	without.broken["rare"] = true
	err := e.SetHandlers(without, false)
	if !errors.Is(err, ErrHandlers) || !strings.Contains(err.Error(), "other") || strings.Contains(err.Error(), "web") {
		t.Errorf("the reload: %v", err)
	}
	wantOpen(t, without, 0)
	wantOpen(t, h, 2)
	e.wantAnswer("any.test", "/", "app")
	e.wantAnswer("other.test", "/", "app")
}

// TestStartRefusesRequestsOfServicesWithoutTheirHandlers: it may have been a password that is
// missing. Other services serve, and a deploy repairs the service.
func TestStartRefusesRequestsOfServicesWithoutTheirHandlers(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	e.deploy(requestWith("rare", "web", app))
	other := requestWith("pass", "other", app)
	other.Hosts = []string{"other.test"}
	e.deploy(other)

	restarted := loaded(t, e.store)
	answered := make(chan int, 1)
	go func() {
		status, _ := restarted.get("other.test", "/")
		answered <- status
	}()
	for restarted.handling.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	without := newFakeHandlers(t)
	without.broken["rare"] = true
	if err := restarted.SetHandlers(without, true); err != nil {
		t.Fatal(err)
	}
	if status := testkit.Receive(t, answered, "the request that came before the handlers"); status != 200 {
		t.Errorf("a request that came before the handlers were made: %d", status)
	}
	restarted.Start()
	resp, err := restarted.client.Do(restarted.request(http.MethodGet, "any.test", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := testkit.Receive(t, restarted.errs, "the other answer"); err != nil {
		t.Error(err)
	}
	if err := testkit.Receive(t, restarted.errs, "the refusal"); !errors.Is(err, ErrHandlers) || StatusOf(err) != 503 {
		t.Errorf("refused with %d: %v", StatusOf(err), err)
	}
	s, err := restarted.Service("web")
	if err != nil || !strings.Contains(s.Broken, "no such handler: rare") || s.Active == nil || s.Active.Requests != 0 {
		t.Errorf("the service is shown as %q (%v)", s.Broken, err)
	}
	if s, _ := restarted.Service("other"); s.Broken != "" {
		t.Errorf("the other service is shown as %q", s.Broken)
	}
	// What is broken already does not keep the host from another reload.
	again := newFakeHandlers(t)
	again.broken["rare"] = true
	if err := restarted.SetHandlers(again, false); err != nil {
		t.Error(err)
	}
	restarted.deployPatch(api.Patch{"service": "web", "targets": []string{app.Target}, "with": "pass"})
	restarted.wantAnswer("any.test", "/", "app")
	if s, _ := restarted.Service("web"); s.Broken != "" {
		t.Errorf("after the deploy: %q", s.Broken)
	}
}

// TestHandlersAreStoredInAFormatThatOlderProgramsRefuse: one that does not know of them would
// serve without.
func TestHandlersAreStoredInAFormatThatOlderProgramsRefuse(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	formats := func() (document, history int) {
		var d, past struct{ Format int }
		if err := errors.Join(json.Unmarshal(e.store.dump()["web"][0], &d), json.Unmarshal(e.store.histories["web"], &past)); err != nil {
			t.Fatal(err)
		}
		return d.Format, past.Format
	}
	e.deploy(requestFor("web", app))
	if d, past := formats(); d != 1 || past != 1 {
		t.Errorf("without handlers: formats %d and %d", d, past)
	}
	e.deploy(requestWith("pass", "web", app))
	if d, past := formats(); d != 3 || past != 2 {
		t.Errorf("with handlers: formats %d and %d", d, past)
	}
	// A document from which they have been taken out by hand is not served without them.
	var document map[string]any
	if err := json.Unmarshal(e.store.dump()["web"][0], &document); err != nil {
		t.Fatal(err)
	}
	delete(document, "handlers")
	b, _ := json.Marshal(document)
	if _, err := decodeDocument("web", b); err == nil {
		t.Error("a document without the handlers that its settings ask for is loaded")
	}
	if _, err := e.rollback("web", api.RollbackRequest{}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, h, 0)
	if _, err := e.rollback("web", api.RollbackRequest{To: 2}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, h, 1)
}

// TestFollowersHaveTheHandlersOfTheServices that they follow.
func TestFollowersHaveTheHandlersOfTheServices(t *testing.T) {
	leader, follower := newFollowed(t)
	h, hf := newFakeHandlers(t), newFakeHandlers(t)
	if err := errors.Join(leader.SetHandlers(h, false), follower.SetHandlers(hf, false)); err != nil {
		t.Fatal(err)
	}
	app := testkit.StartApp(t, "app")
	leader.deploy(requestWith("refuse", "web", app))
	wantOpen(t, hf, 1)
	if status, _ := follower.get("any.test", "/"); status != 403 {
		t.Errorf("the follower answers with %d", status)
	}
	leader.deployPatch(api.Patch{"service": "web", "targets": []string{app.Target}, "with": nil})
	follower.wantAnswer("any.test", "/", "app")
	wantOpen(t, hf, 0)
	wantOpen(t, h, 0)
}

// holdRequest makes a request for a service whose only target is away, and returns when it is held. The
// answer comes by the channel.
func (e *testEngine) holdRequest(service string, r *http.Request) <-chan heldAnswer {
	e.t.Helper()
	release := e.table.Load().named[service].release()
	answers := make(chan heldAnswer, 1)
	go func() {
		status, body := e.do(r)
		answers <- heldAnswer{status, body}
	}()
	testkit.WaitFor(e.t, "the request to be held", func() bool {
		return release.Status().Targets[0].Health == api.HealthFailing && release.InFlight() > 0
	})
	return answers
}

type heldAnswer struct {
	status int
	body   string
}

// TestMovedRequestPassesHandlersOnce: one that is held until the next release serves keeps what
// it has passed, is routed by the path that it came with, and passes the handlers of the next
// release if the one before had none.
func TestMovedRequestPassesHandlersOnce(t *testing.T) {
	for _, tt := range []struct{ before, after, want string }{
		{"path /changed", "refuse", "/changed"},
		{"", "path /changed", "/changed"},
		{"", "refuse", "403"},
		{"path /changed", "", "/changed"},
	} {
		h := newFakeHandlers(t)
		e := newTestEngine(t, withHandlers(h))
		e.deployRaw(func(r *api.DeployRequest) {
			r.HoldTimeout, r.With, r.PathPrefixes, r.StripPathPrefix = testkit.Milliseconds(int(testkit.Timeout.Milliseconds())), tt.before, []string{"/p"}, new(false)
		}, testkit.RefusedAddress)
		answers := e.holdRequest("app", e.request("POST", "h", "/p/x", strings.NewReader("body")))
		echo := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, body)
		})
		next := requestWith(tt.after, "app", echo)
		next.PathPrefixes, next.StripPathPrefix = []string{"/p"}, new(false)
		p := next.Patch()
		p["with"] = tt.after
		e.deployPatch(p)
		if tt.want != "403" {
			tt.want += " body"
		}
		answer := testkit.Receive(t, answers, "an answer")
		got := answer.body
		if answer.status != 200 {
			got = fmt.Sprint(answer.status)
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("from %q to %q: %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
}

// TestHandlersDoNotStopAuthorities that issue certificates, and nothing that only looks like
// one passes.
func TestHandlersDoNotStopAuthorities(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	e.deploy(requestWith("refuse", "web", testkit.StartApp(t, "app")))
	e.wantAnswer("any.test", "/.well-known/acme-challenge/aB3-_", "app")
	const challenge = "/.well-known/acme-challenge/a HTTP/1.1\r\nHost: any.test\r\n"
	for _, request := range []string{
		"POST " + challenge + "Content-Length: 1\r\n\r\nx", "POST " + challenge + "\r\n", "GET " + challenge + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		if got := e.raw(request); got != 403 {
			t.Errorf("%q: %d", request, got)
		}
	}
	for _, path := range []string{
		"/.well-known/acme-challenge/", "/.well-known/acme-challenge", "/.well-known/acme-challenge/../../secret",
		"/.well-known/acme-challenge/%2e%2e/secret", "/.well-known/acme-challenge/a/b", "/.well-known/acme-challenge/a?b",
		"/.well-known/acme-challenge/%61", "//.well-known/acme-challenge/a",
	} {
		if got := e.raw("GET " + path + " HTTP/1.1\r\nHost: any.test\r\n\r\n"); got != 500 && got != 403 && got != 404 {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// startHeaderApp returns an app, and the headers of the requests that it gets.
func startHeaderApp(t *testing.T) (*testkit.App, <-chan http.Header) {
	headers := make(chan http.Header, 1)
	app := testkit.StartHandler(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/up" {
			headers <- r.Header
		}
	})
	return app, headers
}

// TestChallengeHasNothingOfItsSender that an app may trust because handlers set it.
func TestChallengeHasNothingOfItsSender(t *testing.T) {
	app, headers := startHeaderApp(t)
	e := newTestEngine(t, withHandlers(newFakeHandlers(t)))
	e.deploy(requestWith("refuse", "web", app))
	r := e.request("GET", "any.test", "/.well-known/acme-challenge/a", nil)
	r.Header.Set("Remote-User", "admin")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("User-Agent", "an authority")
	_, _ = e.do(r)
	got := testkit.Receive(t, headers, "the challenge")
	if got.Get("User-Agent") != "an authority" || got.Get("Remote-User") != "" || got.Get("Upgrade") != "" {
		t.Errorf("the app gets %v", got)
	}
}

// TestClientsDoNotNameWhatHandlersSet as being about the connection: the app would not get it.
func TestClientsDoNotNameWhatHandlersSet(t *testing.T) {
	app, headers := startHeaderApp(t)
	e := newTestEngine(t, withHandlers(newFakeHandlers(t)))
	e.deploy(requestWith("user", "web", app))
	for _, connection := range []string{"Remote-User", "close, remote-user", "Remote-User, X-Other"} {
		e.raw("GET / HTTP/1.1\r\nHost: any.test\r\nRemote-User: admin\r\nX-Other: x\r\nConnection: " + connection + "\r\n\r\n")
		if got := testkit.Receive(t, headers, "the request").Get("Remote-User"); got != "nobody" {
			t.Errorf("Connection: %s: the app gets the user %q", connection, got)
		}
	}
}

// TestPathsThatHandlersChooseKeepTheirPrefixOnlyIfTheyHaveIt: what is stripped is the prefix of the route,
// and nothing else.
func TestPathsThatHandlersChooseKeepTheirPrefixOnlyIfTheyHaveIt(t *testing.T) {
	echo := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	for with, want := range map[string]string{
		"": "/x", "path /app/new": "/new", "path /app": "/", "path /new": "/new", "path /application/x": "/application/x",
	} {
		e := newTestEngine(t, withHandlers(newFakeHandlers(t)))
		req := requestWith(with, "web", echo)
		req.PathPrefixes = []string{"/app"}
		e.deploy(req)
		if status, body := e.get("any.test", "/app/x"); status != http.StatusOK || body != want {
			t.Errorf("%q: %d %q, want %q", with, status, body, want)
		}
	}
}

// TestRequestThatIsHeldDoesNotGetRoundTheHandlersOfAnotherService, which takes over its route meanwhile.
func TestRequestThatIsHeldDoesNotGetRoundTheHandlersOfAnotherService(t *testing.T) {
	for _, tt := range []struct {
		before, after string
		want          int
	}{{"path /changed", "refuse", 503}, {"path /changed", "path /changed", 200}, {"", "refuse", 403}} {
		e := newTestEngine(t, withHandlers(newFakeHandlers(t)))
		e.deployRaw(func(r *api.DeployRequest) {
			r.Service, r.Hosts, r.With = "old", []string{"h"}, tt.before
			r.HoldTimeout = testkit.Milliseconds(int(testkit.Timeout.Milliseconds()))
		}, testkit.RefusedAddress)
		answers := e.holdRequest("old", e.request("GET", "h", "/x", nil))
		next := requestWith(tt.after, "new", testkit.StartApp(t, "app"))
		next.Hosts, next.TakeOver = []string{"h"}, true
		e.deploy(next)
		if got := testkit.Receive(t, answers, "an answer").status; got != tt.want {
			t.Errorf("from %q to %q: %d, want %d", tt.before, tt.after, got, tt.want)
		}
	}
}

// TestPanicInAHandlerCostsItsRequestAlone and leaves nothing behind.
func TestPanicInAHandlerCostsItsRequestAlone(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	e.deploy(requestWith("panic", "web", app))
	for range 3 {
		if status, _ := e.get("any.test", "/"); status != 0 {
			t.Errorf("status %d", status)
		}
	}
	e.settle()
	if s, _ := e.Service("web"); s.Active.Requests != 0 {
		t.Errorf("%d requests are in flight", s.Active.Requests)
	}
	e.deployPatch(api.Patch{"service": "web", "targets": []string{app.Target}, "with": nil})
	wantOpen(t, h, 0)
}

// TestErrorsOfHandlersCountForARollout: a release whose handlers fail is no better than one
// whose targets do. What handlers answer is not judged.
func TestErrorsOfHandlersCountForARollout(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	for _, tt := range []struct {
		with     string
		failures int64
	}{{"fail", 5}, {"refuse", 0}, {"answer", 0}, {"abort", 0}, {"panic", 5}} {
		e.deploy(requestWith(tt.with, "web", app))
		for range 5 {
			_, _ = e.get("any.test", "/")
		}
		if _, failures := e.table.Load().named["web"].release().Outcomes().Counts(); failures != tt.failures {
			t.Errorf("%s: %d failures, want %d", tt.with, failures, tt.failures)
		}
	}
}

// leavingConnection is a connection whose client a test has go away.
type leavingConnection struct {
	mu      sync.Mutex
	watches int
	gone    func()
}

func (c *leavingConnection) OnGone(gone func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches++
	if c.watches != 1 {
		panic("watched twice at a time")
	}
	c.gone = gone
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.watches--
		c.gone = nil
	}
}

func (c *leavingConnection) leave() {
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if gone != nil {
		gone()
	}
}

// TestHandlersNoticeThatTheClientIsGone where the connection tells that and not the server.
func TestHandlersNoticeThatTheClientIsGone(t *testing.T) {
	connection := new(leavingConnection)
	c := newWaitingContext(t.Context(), connection)
	child, cancel := context.WithCancel(context.WithValue(c, keyOfTest{}, 1))
	defer cancel()
	if child.Err() != nil || c.Err() != nil {
		t.Fatal("the context has ended at once")
	}
	connection.leave()
	testkit.Receive(t, child.Done(), "the end of a context that a handler has made")
	if !errors.Is(context.Cause(c.derive()), forward.ErrClientGone) {
		t.Errorf("it ended because of %v", context.Cause(c.derive()))
	}
	c.end()

	// From the forward on, whoever forwards watches.
	c = newWaitingContext(t.Context(), connection)
	_ = c.Done()
	stop := c.handOver().OnGone(func() {})
	connection.leave()
	testkit.Receive(t, c.Done(), "the end by the watch of another")
	stop()
	c.end()
	if connection.watches != 0 {
		t.Errorf("%d watches are left", connection.watches)
	}
}

type keyOfTest struct{}

// TestPausedRequestsPassTheHandlersAfterwards: those of the release that serves them in the end.
func TestPausedRequestsPassTheHandlersAfterwards(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	app := testkit.StartApp(t, "app")
	e.deploy(requestWith("refuse", "web", app))
	if _, err := e.Hold(t.Context(), "web", api.Paused, api.HoldRequest{}); err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 1)
	go func() {
		status, body := e.get("any.test", "/")
		answers <- fmt.Sprint(status, " ", body)
	}()
	for {
		if s, _ := e.Service("web"); s.Hold != nil && s.Hold.Waiting == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	// A load balancer is told by the proxy, and not by a handler.
	if status, _ := e.get("any.test", "/up"); status != http.StatusOK {
		t.Errorf("a load balancer gets %d while the service is paused", status)
	}
	e.deployPatch(api.Patch{"service": "web", "targets": []string{app.Target}, "with": "pass"})
	if _, err := e.Resume("web", ""); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Receive(t, answers, "the answer"); got != "200 app" {
		t.Errorf("the request that waited: %s", got)
	}
	e.deployPatch(api.Patch{"service": "web", "targets": []string{app.Target}, "with": "refuse"})
	if status, _ := e.get("any.test", "/up"); status != http.StatusForbidden {
		t.Errorf("a load balancer gets %d while the service serves", status)
	}
}

// TestCanaryHasItsOwnHandlers: each client gets the handlers and the app of one release.
func TestCanaryHasItsOwnHandlers(t *testing.T) {
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h))
	old, next := testkit.StartApp(t, "old"), testkit.StartApp(t, "new")
	e.deploy(requestWith("old", "web", old))
	canary := requestWith("new", "web", next)
	canary.Canary, canary.Detach = "50%", true
	await(t, e.start(canary), api.EventRollout, 1)
	seen := make(map[string]int)
	for range 100 {
		req := e.request(http.MethodGet, "any.test", "/", nil)
		req.Header.Set("Accept", "text/html")
		resp, err := e.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		seen[string(body)]++
		if got := resp.Header.Get("X-Chain"); got != "first "+string(body) {
			t.Errorf("the answer %q comes with the handlers %q", body, got)
		}
	}
	if seen["old"] == 0 || seen["new"] == 0 {
		t.Errorf("only one release has answered: %v", seen)
	}
	if _, err := e.rollback("web", api.RollbackRequest{}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, h, 1)
}

// TestRequestsWithoutHandlersAllocateNothingForThem: one that comes to no service allocates
// nothing at all, so what is known of its sender is not on the heap.
func TestRequestsWithoutHandlersAllocateNothingForThem(t *testing.T) {
	e := newTestEngine(t)
	r := e.request(http.MethodGet, "none.test", "/", nil)
	sender := forward.Sender{Began: time.Now()}
	if n := testing.AllocsPerRun(100, func() {
		if err := e.ServeHTTP(nil, r, "", sender); !errors.Is(err, ErrNoRoute) {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a request allocates %v times before it is forwarded", n)
	}
}
