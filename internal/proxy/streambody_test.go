package proxy

import (
	"bufio"
	"io"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestEventStreamDoesNotHoldADeploy is about a client that would stay for ever.
func TestEventStreamDoesNotHoldADeploy(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{"text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream"} {
		e := newTestEngine(t)
		old := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			_, _ = io.WriteString(w, "id: 1\ndata: x\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		e.deploy(requestFor("app", old))
		resp, err := e.client.Do(e.request("GET", "h", "/events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		events := bufio.NewReader(resp.Body)
		for range 3 { // it is live: this arrives while the app goes on
			if _, err := events.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		req := requestFor("app", testkit.StartApp(t, "new"))
		req.StreamTimeout = testkit.Milliseconds(0)
		d := e.start(req)
		if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
			t.Errorf("%s: after the last event: %q, %v, want a proper end", mediaType, rest, err)
		}
		status, err := wait(t, d)
		if err != nil || len(status.Drained) != 1 || status.Drained[0].Streams != 1 || status.Drained[0].CutStreams != 0 {
			t.Errorf("%s: drained %+v, %v, want one stream and none cut", mediaType, status.Drained, err)
		}
	}
}

// TestStreamsThatCannotEndPolitelyAreCutAndTold is about an app that never
// finishes its event.
func TestStreamsThatCannotEndPolitelyAreCutAndTold(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: half an ev")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})))
	resp, err := e.client.Do(e.request("GET", "h", "/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, len("data: half"))); err != nil {
		t.Fatal(err) // before the first byte would be a border, too
	}
	req := requestFor("app", testkit.StartApp(t, "new"))
	req.StreamTimeout = testkit.Milliseconds(0)
	d := e.start(req)
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the answer looks complete: %q", rest)
	}
	status, err := wait(t, d)
	if err != nil {
		t.Errorf("the deploy fails: %v", err)
	}
	if status.State != api.StateDone || status.Drained[0].CutStreams != 1 {
		t.Errorf("state %s, drained %+v, want done with one stream cut", status.State, status.Drained)
	}
}
