package acme

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// app is a web application inside the test.
type app struct {
	*httptest.Server
	// requests counts what it was sent, health checks not included.
	requests atomic.Int64
}

// startApp starts an application that does what handler does. The health check is
// answered for it.
func startApp(t *testing.T, handler http.HandlerFunc) *app {
	t.Helper()
	a := new(app)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			return
		}
		a.requests.Add(1)
		handler(w, r)
	}))
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

func (a *app) addr() string { return a.Listener.Addr().String() }

// named answers its name, after it has read the body.
func named(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, name)
	}
}
