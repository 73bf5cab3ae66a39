package kamal

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// app is an application that tells what it was asked.
type app struct {
	*httptest.Server
	name string
	// slow holds requests for /slow until it is closed.
	slow chan struct{}
	// entered gets a value for each of these requests.
	entered chan struct{}
}

// asked is what an application was asked.
type asked struct {
	App    string
	Method string
	URI    string
	Host   string
	Header map[string]string
	Body   string
}

func startApp(t testing.TB, name string) *app {
	t.Helper()
	a := &app{name: name, slow: make(chan struct{}), entered: make(chan struct{}, 10)}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

func (a *app) addr() string { return a.Listener.Addr().String() }

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/up":
	case path == "/slow":
		a.entered <- struct{}{}
		select {
		case <-a.slow:
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
		_, _ = io.WriteString(w, a.name)
	case strings.HasPrefix(path, "/status/"):
		status, err := strconv.Atoi(strings.TrimPrefix(path, "/status/"))
		if err != nil || status < 200 || status > 599 {
			status = http.StatusTeapot
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	case path == "/cookies":
		for _, c := range []string{"a=1", "b=2; Path=/x", "c=3; Domain=app.test", "d=4; Domain=other.test; Path=/y", "odd cookie"} {
			w.Header().Add("Set-Cookie", c)
		}
	case path == "/fields":
		w.Header().Set("X-Odd", "a, b")
		w.Header()["x-lower"] = []string{"1"}
		w.Header().Add("Vary", "Accept")
		w.Header().Add("Vary", "Origin")
		w.Header().Set("Server", "app")
		w.Header().Set("X-Powered-By", "app")
	case path == "/cut":
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case path == "/reset":
		panic(http.ErrAbortHandler)
	default:
		a.echo(w, r)
	}
}

// notCompared are header fields that tell one request from another of the same kind, or that a
// client adds by itself.
var notCompared = []string{"X-Request-Id", "X-Request-Start"}

func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	seen := asked{App: a.name, Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: make(map[string]string), Body: string(body)}
	for name, values := range r.Header {
		seen.Header[name] = strings.Join(values, " | ")
	}
	for _, name := range notCompared {
		if seen.Header[name] != "" {
			seen.Header[name] = "given"
		}
	}
	if seen.Header["X-Kamal-Target"] == a.addr() {
		seen.Header["X-Kamal-Target"] = "its own address"
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen)
}
