package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// watchedConnection is a [ClientConnection] that a test decides about.
type watchedConnection struct {
	watched chan func()   // has what tells that the client has gone
	stopped chan struct{} // is closed when the watch is over
}

func newWatchedConnection() *watchedConnection {
	return &watchedConnection{watched: make(chan func(), 10), stopped: make(chan struct{})}
}

func (c *watchedConnection) OnGone(gone func()) (stop func()) {
	c.watched <- gone
	return func() { close(c.stopped) }
}

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
	for path, want := range map[string]any{"/waiting": ErrClientGone, "/receiving": http.ErrAbortHandler} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			begun, told := make(chan struct{}), make(chan struct{})
			a := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
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
			c := newWatchedConnection()
			ended := make(chan any, 1)
			go func() {
				defer func() {
					if cut := recover(); cut != nil {
						ended <- cut
					}
				}()
				r := httptest.NewRequest(http.MethodGet, path, nil)
				ended <- e.ServeHTTP(&writerThatTells{httptest.NewRecorder(), begun}, r, "", Sender{Connection: c})
			}()
			receive(t, begun, "the exchange to begin")
			gone := receive(t, c.watched, "the watch")
			gone()
			if end := receive(t, ended, "the end of the exchange"); end != want {
				t.Errorf("the exchange ended with %v instead of %v", end, want)
			}
			receive(t, told, "the target to be told")
			select {
			case <-c.stopped:
			default:
				t.Error("the connection is still watched")
			}
		})
	}
}

// The connection belongs to the next request when an exchange is over, whoever still
// asks whether that has ended.
func TestConnectionIsNotWatchedAfterTheExchange(t *testing.T) {
	t.Parallel()
	c := newWatchedConnection()
	x := &exchange{client: context.Background(), from: Sender{Connection: c}, place: place{release: new(Release)}}
	x.releaseClient()
	_ = x.Done()
	if len(c.watched) > 0 {
		t.Error("the connection is watched")
	}
	x.endRequest()
}
