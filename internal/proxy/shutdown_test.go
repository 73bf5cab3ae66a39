package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestStoppingEngineAcceptsNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	sick := testkit.StartApp(t, "sick")
	sick.Health.Store(http.StatusServiceUnavailable)
	d := e.start(requestFor("app", sick))
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	e.Shutdown(ctx)
	if ctx.Err() != nil {
		t.Fatal("the shutdown takes for ever")
	}
	status, err := wait(t, d)
	wantCode(t, err, api.CodeStopping)
	if status.State != api.StateCancelled {
		t.Errorf("a deployment under way ends as %s, want cancelled", status.State)
	}
	_, err = e.Deploy(requestFor("app", a).Patch())
	wantCode(t, err, api.CodeStopping)
	_, err = e.Remove("app", api.RemoveRequest{})
	wantCode(t, err, api.CodeStopping)
	e.wantAnswer("h", "/", "app") // requests are for the server to end
}

// TestShutdownClosesStreamsPolitely and does not cut them.
func TestShutdownClosesStreamsPolitely(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, _ := startWebSocketApp(t)
	e.deploy(requestFor("app", a))
	conn, r := e.upgrade("/", "websocket")
	echo(t, conn, r, "before")
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		e.Shutdown(ctx)
		close(stopped)
	}()
	opcode, payload := testkit.ReadFrame(t, r)
	if opcode != testkit.CloseOpcode || binary.BigEndian.Uint16(payload) != 1001 {
		t.Errorf("opcode %x, payload %q, want a close frame with 1001", opcode, payload)
	}
	select {
	case <-stopped:
		t.Error("the shutdown does not wait for the stream")
	default:
	}
	testkit.MustWrite(t, conn, testkit.Frame(testkit.CloseOpcode, payload, testkit.MaskKey...))
	_ = conn.Close()
	testkit.Receive(t, stopped, "the shutdown")
	if ctx.Err() != nil {
		t.Error("the shutdown takes for ever")
	}
}

// TestRetiredEngineFinishesItsRequests since the servers that use it may go on for
// a while.
func TestRetiredEngineFinishesItsRequests(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	entered, release := make(chan struct{}), make(chan struct{})
	e.deployRaw(nil, testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	}).Target)
	answer := make(chan string, 1)
	go func() {
		status, body := e.get("h", "/")
		answer <- fmt.Sprint(status, " ", body)
	}()
	testkit.Receive(t, entered, "the request")
	e.Retire()
	if status, body := e.get("h", "/"); status != http.StatusServiceUnavailable {
		t.Errorf("a request that comes too late got %d %q", status, body)
	}
	if _, err := e.Upstreams(t.Context(), "app"); !errors.Is(err, ErrRetired) {
		t.Errorf("somebody who forwards by himself got %v", err)
	}
	close(release)
	if got := testkit.Receive(t, answer, "the answer"); got != "200 done" {
		t.Errorf("the request got %q", got)
	}
	if _, err := e.Deploy(api.DeployRequest{Targets: []string{"a:1"}}.Patch()); api.ErrorCode(err) != api.CodeStopping {
		t.Errorf("a retired engine says %v to a deploy", err)
	}
}

// TestRetiredEngineSwitchesToNothing that is stored while it is retired: nobody would
// drain it.
func TestRetiredEngineSwitchesToNothing(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	e.deploy(requestFor("app", testkit.StartApp(t, "old")))
	store.onSave = func(string) error {
		e.Retire()
		return nil
	}
	status, err := wait(t, e.start(requestFor("app", testkit.StartApp(t, "new"))))
	wantCode(t, err, api.CodeStopping)
	if status.State != api.StateCancelled || status.Release != 0 {
		t.Errorf("%+v", status)
	}
}
