package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// writerThatTells closes a channel when the answer begins.
type writerThatTells struct {
	http.ResponseWriter
	begun chan struct{}
}

func (w *writerThatTells) WriteHeader(status int) {
	if status == http.StatusOK {
		close(w.begun)
	}
	w.ResponseWriter.WriteHeader(status)
}

// A client whose connection says that it has gone is as gone as one whose request says
// so, to the target and to the log, before the answer begins and in the middle of it.
func TestConnectionTellsThatTheClientHasGone(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]error{"/waiting": forward.ErrClientGone, "/receiving": http.ErrAbortHandler} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			begun, told := make(chan struct{}), make(chan struct{})
			a := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/receiving" {
					_, _ = io.WriteString(w, "some")
					_ = http.NewResponseController(w).Flush()
				} else {
					close(begun)
				}
				<-r.Context().Done()
				close(told)
			})
			e.deploy(requestFor("app", a))
			c := testkit.NewWatchedConnection()
			ended := make(chan error, 1)
			go func() {
				defer func() {
					if cut := recover(); cut != nil {
						ended <- cut.(error)
					}
				}()
				r := httptest.NewRequest(http.MethodGet, path, nil)
				ended <- e.ServeHTTP(&writerThatTells{httptest.NewRecorder(), begun}, r, "", forward.Sender{Connection: c})
			}()
			testkit.Receive(t, begun, "the exchange to begin")
			gone := testkit.Receive(t, c.Watched, "the watch")
			gone()
			if end := testkit.Receive(t, ended, "the end of the exchange"); !errors.Is(end, want) {
				t.Errorf("the exchange ended with %v instead of %v", end, want)
			}
			testkit.Receive(t, told, "the target to be told")
			select {
			case <-c.Stopped:
			default:
				t.Error("the connection is still watched")
			}
		})
	}
}
