package testkit

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// App is a web application. It answers /up with its health, holds requests for
// /slow until it is told to finish them, and answers everything else with its name.
type App struct {
	name    string
	Target  string
	Server  *http.Server
	Health  atomic.Int32
	Probes  atomic.Int64
	Served  atomic.Int64
	Arrived chan struct{}
	Finish  chan struct{}
	// Handler, if set, answers what is not a probe.
	Handler http.HandlerFunc
	// LastProbe is the last probe's request.
	LastProbe atomic.Pointer[http.Request]
}

func NewApp(name string) *App {
	a := &App{name: name, Arrived: make(chan struct{}, 100), Finish: make(chan struct{})}
	a.Health.Store(http.StatusOK)
	a.Server = &http.Server{Handler: a, ReadHeaderTimeout: Timeout}
	return a
}

// StartApp starts an app that is healthy.
func StartApp(t testing.TB, name string) *App {
	t.Helper()
	return NewApp(name).Start(t, Listen(t, "tcp", "127.0.0.1:0"))
}

// StartHandler starts an app that is healthy and answers with h.
func StartHandler(t testing.TB, h http.HandlerFunc) *App {
	t.Helper()
	a := NewApp("")
	a.Handler = h
	return a.Start(t, Listen(t, "tcp", "127.0.0.1:0"))
}

func (a *App) Start(t testing.TB, l net.Listener) *App {
	if a.Target = l.Addr().String(); l.Addr().Network() == "unix" {
		a.Target = "unix/" + a.Target
	}
	go func() { _ = a.Server.Serve(l) }()
	t.Cleanup(a.Kill)
	return a
}

// Kill ends the app as a crash does.
func (a *App) Kill() { _ = a.Server.Close() }

func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == api.DefaultHealthCheckPath {
		a.LastProbe.Store(r)
		a.Probes.Add(1)
		w.WriteHeader(int(a.Health.Load()))
		return
	}
	a.Served.Add(1)
	switch {
	case a.Handler != nil:
		a.Handler(w, r)
		return
	case r.URL.Path == "/slow":
		a.Arrived <- struct{}{}
		select {
		case <-a.Finish:
		case <-r.Context().Done():
		}
	}
	_, _ = io.WriteString(w, a.name)
}
