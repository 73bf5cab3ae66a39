package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// memoryStore is a [Store] that keeps two generations, as the real one does.
type memoryStore struct {
	mu        sync.Mutex
	documents map[string][][]byte
	histories map[string][]byte
}

func newMemoryStore() *memoryStore {
	return &memoryStore{documents: make(map[string][][]byte), histories: make(map[string][]byte)}
}

func (s *memoryStore) SaveHistory(_ context.Context, service string, history []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.histories[service] = bytes.Clone(history)
	return nil
}

func (s *memoryStore) LoadHistory(_ context.Context, service string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.histories[service] == nil {
		return nil, fs.ErrNotExist
	}
	return s.histories[service], nil
}

func (s *memoryStore) Save(_ context.Context, service string, document []byte, usable func([]byte) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.documents[service]
	if len(before) > 0 && !usable(before[0]) {
		before = before[1:]
	}
	generations := append([][]byte{bytes.Clone(document)}, before...)
	s.documents[service] = generations[:min(2, len(generations))]
	return nil
}

func (s *memoryStore) Delete(_ context.Context, service string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.documents, service)
	delete(s.histories, service)
	return nil
}

func (s *memoryStore) Load(_ context.Context, service string) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.documents[service]), nil
}

func (s *memoryStore) List(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.documents {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// put makes generations, the newest first, the documents of a service.
func (s *memoryStore) put(service string, generations ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documents[service] = generations
}

// dump returns everything in the store.
func (s *memoryStore) dump() map[string][][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string][][]byte)
	for name, generations := range s.documents {
		all[name] = slices.Clone(generations)
	}
	return all
}

// faultyStore is a [Store] whose writes fail, or wait, as a test wants.
type faultyStore struct {
	*memoryStore
	// onSave and onDelete are called before the operation, and fail it.
	onSave, onDelete func(service string) error
}

func (s *faultyStore) Save(ctx context.Context, service string, document []byte, usable func([]byte) bool) error {
	if s.onSave != nil {
		if err := s.onSave(service); err != nil {
			return err
		}
	}
	return s.memoryStore.Save(ctx, service, document, usable)
}

func (s *faultyStore) Delete(ctx context.Context, service string) error {
	if s.onDelete != nil {
		if err := s.onDelete(service); err != nil {
			return err
		}
	}
	return s.memoryStore.Delete(ctx, service)
}

var errDiskFull = errors.New("no space left on device")

// testEngine is an engine behind a real HTTP server.
type testEngine struct {
	*Engine
	t     testing.TB
	store *memoryStore
	// url is the server's, client one that reaches it.
	url    string
	client *http.Client
	// errs receives what ServeHTTP returns, if a test is interested.
	errs chan error
	// handling counts the requests that the server is busy with.
	handling atomic.Int64
}

// newTestEngine returns an engine that configure may have changed the options of.
func newTestEngine(t testing.TB, configure ...func(*EngineOptions)) *testEngine {
	t.Helper()
	e := &testEngine{t: t, store: newMemoryStore(), errs: make(chan error, 1000)}
	opts := EngineOptions{Store: e.store, UserAgent: "parachute/test"}
	for _, change := range configure {
		change(&opts)
	}
	e.Engine = NewEngine(opts)
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	front := &http.Server{Handler: http.HandlerFunc(e.handle), ReadHeaderTimeout: testkit.Timeout, Protocols: new(http.Protocols)}
	front.Protocols.SetHTTP1(true)
	front.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = front.Serve(l) }()
	e.url = "http://" + l.Addr().String()
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, Proxy: nil}
	e.client = &http.Client{Transport: tr, Timeout: testkit.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	t.Cleanup(func() {
		_ = front.Close()
		tr.CloseIdleConnections()
		e.Close()
	})
	return e
}

// withStore has the engine use s.
func withStore(s Store) func(*EngineOptions) {
	return func(o *EngineOptions) { o.Store = s }
}

// handle does what a host of the engine does. The header X-Test-Trusted stands
// for a trusted proxy, X-Test-Service for a handler that names its service.
func (e *testEngine) handle(w http.ResponseWriter, r *http.Request) {
	e.handling.Add(1)
	defer e.handling.Add(-1)
	client := forward.Sender{Trusted: r.Header.Get("X-Test-Trusted") != ""}
	err := e.ServeHTTP(w, r, r.Header.Get("X-Test-Service"), client)
	select {
	case e.errs <- err:
	default:
	}
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
	}
}

func statusOf(err error) int {
	if held, ok := errors.AsType[*HeldError](err); ok {
		return held.Status
	}
	if refusal, ok := errors.AsType[*HandlerError](err); ok {
		return refusal.Status
	}
	for target, status := range map[error]int{
		ErrNoRoute: http.StatusNotFound, ErrHandlers: http.StatusServiceUnavailable, ErrRetired: http.StatusServiceUnavailable, ErrLoop: http.StatusLoopDetected, ErrMisdirected: http.StatusMisdirectedRequest,
		forward.ErrLargeBody: http.StatusRequestEntityTooLarge, forward.ErrNoRoom: http.StatusInsufficientStorage, forward.ErrLargeAnswer: http.StatusBadGateway,
		forward.ErrBadRequest: http.StatusBadRequest, forward.ErrClientGone: 499, forward.ErrCut: http.StatusServiceUnavailable,
		forward.ErrUnreachable: http.StatusBadGateway, forward.ErrTimeout: http.StatusGatewayTimeout, forward.ErrBadGateway: http.StatusBadGateway,
	} {
		if errors.Is(err, target) {
			return status
		}
	}
	return http.StatusInternalServerError
}

// request returns a request that reaches the engine as one for host.
func (e *testEngine) request(method, host, path string, body io.Reader) *http.Request {
	e.t.Helper()
	req, err := http.NewRequest(method, e.url+path, body)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Host = host
	return req
}

// dial returns a connection to the engine's server, for requests that no client
// library would send.
func (e *testEngine) dial() (net.Conn, *bufio.Reader) {
	e.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testkit.Timeout))
	return conn, bufio.NewReader(conn)
}

// do returns the status and the body of the answer to req.
func (e *testEngine) do(req *http.Request) (int, string) {
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func (e *testEngine) get(host, path string) (int, string) {
	e.t.Helper()
	return e.do(e.request(http.MethodGet, host, path, nil))
}

// settle returns when every request that has been answered has also ended.
func (e *testEngine) settle() {
	for e.handling.Load() > 0 {
		runtime.Gosched()
	}
}

// wantAnswer fails the test unless a GET is answered with 200 and body.
func (e *testEngine) wantAnswer(host, path, body string) {
	e.t.Helper()
	if status, got := e.get(host, path); status != http.StatusOK || got != body {
		e.t.Fatalf("GET %s%s: %d %q, want 200 %q", host, path, status, got, body)
	}
}

// target returns the status of a target of the release that serves.
func (e *testEngine) target(service string, i int) api.TargetStatus {
	e.t.Helper()
	s, err := e.Service(service)
	if err != nil {
		e.t.Fatal(err)
	}
	return s.Active.Targets[i]
}

// start begins a deployment that has to be accepted.
func (e *testEngine) start(req api.DeployRequest) *Deployment {
	e.t.Helper()
	return e.startPatch(req.Patch())
}

// deployPatch deploys what a patch asks for, and waits for it.
func (e *testEngine) deployPatch(p api.Patch) api.DeploymentStatus {
	e.t.Helper()
	status, err := wait(e.t, e.startPatch(p))
	if err != nil {
		e.t.Fatalf("deploying: %v", err)
	}
	return status
}

func (e *testEngine) startPatch(p api.Patch) *Deployment {
	e.t.Helper()
	d, err := e.Deploy(p)
	if err != nil {
		e.t.Fatalf("deploying: %v", err)
	}
	return d
}

// deploy makes a deployment that has to succeed.
func (e *testEngine) deploy(req api.DeployRequest) api.DeploymentStatus {
	e.t.Helper()
	status, err := wait(e.t, e.start(req))
	if err != nil {
		e.t.Fatalf("deployment: %v (%v)", err, status.Probes)
	}
	return status
}

// WantCode fails the test unless err has the code.
func wantCode(t testing.TB, err error, code api.Code) {
	t.Helper()
	if api.ErrorCode(err) != code {
		t.Fatalf("error %v has the code %q, want %q", err, api.ErrorCode(err), code)
	}
}

// wait returns how d ends.
func wait(t testing.TB, d *Deployment) (api.DeploymentStatus, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	status, err := d.Wait(ctx)
	if ctx.Err() != nil {
		t.Fatalf("deployment is still %s", status.State)
	}
	return status, err
}

// await returns the nth event of a kind.
func await(t testing.TB, d *Deployment, kind api.EventKind, nth int) api.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
	defer cancel()
	var found api.Event
	errFound := errors.New("found")
	err := d.Events(ctx, func(ev api.Event) error {
		if ev.Kind == kind {
			if nth--; nth == 0 {
				found = ev
				return errFound
			}
		}
		return nil
	})
	if !errors.Is(err, errFound) {
		t.Fatalf("no event %q: %v", kind, err)
	}
	return found
}

// picture is everything about the control plane that a failure must not change,
// in a form that can be compared.
func (e *testEngine) picture() string {
	e.t.Helper()
	type owned struct {
		Route api.Route
		Owner string
		Count int
	}
	var all struct {
		Services  []api.ServiceStatus
		Documents map[string][][]byte
		Owners    []owned
		Routes    map[string]string
	}
	all.Services, all.Documents, all.Routes = e.Services(), e.store.dump(), make(map[string]string)
	for _, c := range e.table.Load().named {
		for _, r := range c.routes {
			all.Routes[r.String()] = c.service + " " + c.release().Targets()[0]
		}
	}
	e.mu.Lock()
	for r, o := range e.owners {
		all.Owners = append(all.Owners, owned{r, o.service, o.count})
	}
	e.mu.Unlock()
	slices.SortFunc(all.Owners, func(a, b owned) int { return bytes.Compare([]byte(a.Route.String()), []byte(b.Route.String())) })
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// requestFor returns a request to deploy apps, with short intervals.
func requestFor(service string, apps ...*testkit.App) api.DeployRequest {
	req := api.DeployRequest{Service: service, HealthCheckInterval: testkit.Milliseconds(10)}
	for _, a := range apps {
		req.Targets = append(req.Targets, a.Target)
	}
	return req
}
