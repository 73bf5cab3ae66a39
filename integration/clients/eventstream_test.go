package clients

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// torn serves events that it writes in three pieces, so that most instants are in
// the middle of one.
func torn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	out := http.NewResponseController(w)
	for n := 0; ; n++ {
		for _, piece := range []string{fmt.Sprintf("id: %d\nda", n), "ta: whole\n", "\n"} {
			if _, err := io.WriteString(w, piece); err != nil || out.Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(3 * time.Millisecond):
			}
		}
	}
}

// Trap 10: an event stream neither holds a deploy nor ends in the middle of an
// event.
func TestEventStreamDoesNotHoldADeployAndEndsWithAWholeEvent(t *testing.T) {
	t.Parallel()
	const streamTimeout = 500 * time.Millisecond
	eachProtocol(t, func(t *testing.T, protocol string) {
		left := make(chan struct{}, 10)
		old := startApp(t, func(w http.ResponseWriter, r *http.Request) {
			torn(w, r)
			left <- struct{}{}
		})
		next := startApp(t, named("next"))
		x := newSite(t, plain.Get(t), old.addr())
		c := x.client(t, protocol)
		const n = 5
		bodies, errs := make(chan string, n), make(chan error, n)
		for range n {
			resp, err := c.Do(c.request(t, http.MethodGet, "/events", nil))
			must(t, err)
			go func() {
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				bodies <- string(body)
				errs <- err
			}()
		}
		begin := time.Now()
		status := x.deploy(t, api.DeployRequest{Targets: []string{next.addr()}, StreamTimeout: duration(streamTimeout)})
		took := time.Since(begin)
		for range n {
			body := arrive(t, "the end of an event stream", bodies)
			if err := arrive(t, "how it ended", errs); err != nil {
				t.Errorf("a stream broke: %v", err)
			}
			if !strings.HasSuffix(body, "data: whole\n\n") {
				t.Errorf("a stream ended in the middle of an event: %q", body[max(0, len(body)-60):])
			}
			if !strings.Contains(body, "\n\n") {
				t.Error("no event came through")
			}
			arrive(t, "the app to be left", left)
		}
		t.Logf("deploy took %s", took)
		if took < streamTimeout/2 || took > streamTimeout+3*time.Second {
			t.Errorf("the deploy took %s with a stream timeout of %s", took, streamTimeout)
		}
		for _, d := range status.Drained {
			if d.Streams != n || d.CutStreams != 0 || d.CutRequests != 0 {
				t.Errorf("drained: %+v", d)
			}
		}
		if got := c.get(t, "/"); got.body != "next" {
			t.Errorf("%q answers after the deploy", got.body)
		}
	})
}
