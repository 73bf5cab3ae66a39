package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// app is the web application.
type app struct {
	name      string
	version   string
	checkHost string  // empty: any host will do
	failRate  float64 // of the page
	health    *health
	routes    map[string]http.HandlerFunc // by exact path

	// stopping is done once endless responses and WebSockets shall end. It
	// is a context, not a channel, for the sake of context.AfterFunc: a
	// WebSocket needs no goroutine of its own to wait for it.
	stopping   context.Context
	endStreams context.CancelFunc

	// webSockets counts the connections that http.Server no longer knows.
	webSockets sync.WaitGroup
}

// newApp returns the application as it is when it has started at the given time.
func newApp(opts options, started time.Time) *app {
	a := &app{
		name:      opts.name,
		version:   opts.version,
		checkHost: opts.checkHost,
		failRate:  opts.failRate,
		health:    newHealth(started, opts.bootDelay, opts.unhealthyAfter),
	}
	a.stopping, a.endStreams = context.WithCancel(context.Background())
	a.routes = map[string]http.HandlerFunc{
		"/":             a.sometimes(a.page),
		"/up":           a.up,
		"/slow":         a.slow,
		"/ws":           a.webSocket,
		"/sse":          a.sse,
		"/upload":       a.upload,
		"/echo":         a.echo,
		"/fail":         a.fail,
		"/admin/health": a.setHealth,
	}
	return a
}

// ServeHTTP routes by hand: http.ServeMux answers paths with `//` or `..` by a
// redirect, and /echo is there to show such a path as it arrived.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Instance", a.name)
	w.Header().Set("X-Version", a.version)

	if !a.isHost(r.Host) {
		a.answer(w, http.StatusBadRequest, fmt.Sprintf("blocked host %q", r.Host))
		return
	}
	// An application that still starts has no answer to anything, so a request
	// that is sent here too early does not go unnoticed.
	if a.health.booting(time.Now()) && r.URL.Path != "/admin/health" {
		w.Header().Set("Retry-After", "1")
		a.answer(w, http.StatusServiceUnavailable, reasonBooting)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/echo/") {
		a.echo(w, r)
		return
	}
	if handle, ok := a.routes[r.URL.Path]; ok {
		handle(w, r)
		return
	}
	a.answer(w, http.StatusNotFound, "not found")
}

// fail answers as an application does that has met an error of its own.
func (a *app) fail(w http.ResponseWriter, _ *http.Request) {
	a.answer(w, http.StatusInternalServerError, "failed on request")
}

// sometimes fails the share of the requests that was asked for, and handles the others.
func (a *app) sometimes(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if a.failRate > 0 && rand.Float64() < a.failRate {
			a.fail(w, r)
			return
		}
		handle(w, r)
	}
}

// isHost reports whether the application answers requests for host, given with
// or without a port. Web frameworks have such a check against DNS rebinding.
func (a *app) isHost(host string) bool {
	if a.checkHost == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.EqualFold(host, a.checkHost)
}

// waitForWebSockets returns when every WebSocket is closed, or the error of ctx.
func (a *app) waitForWebSockets(ctx context.Context) error {
	closed := make(chan struct{})
	go func() {
		a.webSockets.Wait()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer writes one line of text that starts with who is talking.
func (a *app) answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s %s: %s\n", a.name, a.version, text)
}

// identity is the part that all JSON answers have in common.
type identity struct {
	Instance string `json:"instance"`
	Version  string `json:"version"`
}

func (a *app) identity() identity {
	return identity{Instance: a.name, Version: a.version}
}

// answerJSON writes v for people and programs alike: indented, and with `&`
// and `<` left readable.
func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // fails only when the client has gone
}
