package rig

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load sends requests to the sample application behind a proxy until it is
// stopped, and counts what failed.
type Load struct {
	addr   string
	client *http.Client
	ctx    context.Context
	stop   context.CancelFunc
	users  sync.WaitGroup

	requests, failed, streamsClosed atomic.Int64

	// mu guards errors and answeredBy.
	mu         sync.Mutex
	errors     []string
	answeredBy map[string]int
}

// uploadSize is the size of each upload of the load, in bytes.
const uploadSize = 256 << 10

// StartLoad starts a mix of users: plain requests, slow ones, uploads, WebSockets
// and event streams. pause is the time between two requests of one user.
func StartLoad(addr string, users int, pause time.Duration) *Load {
	l := &Load{
		addr:       addr,
		client:     &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: users + 8}},
		answeredBy: make(map[string]int),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	for range users {
		l.user(pause, func() error { return l.get("/") })
	}
	l.user(pause, func() error { return l.get("/slow?d=300ms") })
	for range 2 {
		l.user(pause, l.upload)
	}
	l.user(pause, l.webSocket)
	l.user(pause, l.events)
	return l
}

// Stop lets every user finish what it is doing.
func (l *Load) Stop() {
	l.stop()
	l.users.Wait()
	l.client.CloseIdleConnections()
}

// Requests returns how many requests have ended, and how many of them failed.
func (l *Load) Requests() (requests, failed int64) { return l.requests.Load(), l.failed.Load() }

// StreamsClosed returns how many streams the proxy has closed politely.
func (l *Load) StreamsClosed() int64 { return l.streamsClosed.Load() }

// Errors returns the first failures.
func (l *Load) Errors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.errors)
}

// AnsweredBy returns how many requests each instance has answered.
func (l *Load) AnsweredBy() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.answeredBy)
}

// user repeats an action until the load is stopped. Each is one request.
func (l *Load) user(pause time.Duration, act func() error) {
	l.users.Go(func() {
		for l.ctx.Err() == nil {
			err := act()
			l.requests.Add(1)
			if err != nil {
				l.failed.Add(1)
				l.remember(err)
			}
			select {
			case <-l.ctx.Done():
			case <-time.After(pause):
			}
		}
	})
}

func (l *Load) remember(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) < 20 {
		l.errors = append(l.errors, err.Error())
	}
}

func (l *Load) answered(instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answeredBy[instance]++
}

// do makes a request and checks that the answer is whole and good.
func (l *Load) do(req *http.Request) (string, error) {
	resp, err := l.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("%s %s: reading the answer: %w", req.Method, req.URL.Path, err)
	}
	if resp.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, bytes.TrimSpace(body))
	}
	l.answered(resp.Header.Get("X-Instance"))
	return string(body), nil
}

func (l *Load) get(path string) error {
	req, err := http.NewRequest(http.MethodGet, "http://"+l.addr+path, nil)
	if err != nil {
		return err
	}
	_, err = l.do(req)
	return err
}

func (l *Load) upload() error {
	req, err := http.NewRequest(http.MethodPost, "http://"+l.addr+"/upload", bytes.NewReader(make([]byte, uploadSize)))
	if err != nil {
		return err
	}
	answer, err := l.do(req)
	if err == nil && !strings.Contains(answer, fmt.Sprint(uploadSize)) {
		err = fmt.Errorf("POST /upload: the application did not get %d bytes: %s", uploadSize, answer)
	}
	return err
}

// webSocket talks to the echo until the proxy says goodbye with 1001, which is
// no failure, or the load is stopped.
func (l *Load) webSocket() error {
	ws, err := DialWebSocket(l.addr, l.addr, "/ws")
	if err != nil {
		return err
	}
	defer ws.Close()
	if _, err := ws.Receive(); err != nil {
		return fmt.Errorf("WebSocket: greeting: %w", err)
	}
	for n := 0; l.ctx.Err() == nil; n++ {
		ws.SetDeadline(time.Now().Add(10 * time.Second))
		text := fmt.Sprintf("message %d", n)
		var got string
		if err = ws.Send(text); err == nil {
			got, err = ws.Receive()
		}
		if closed, ok := errors.AsType[*CloseError](err); ok && closed.Code == 1001 {
			l.streamsClosed.Add(1)
			return nil
		}
		if err != nil {
			return fmt.Errorf("WebSocket: %w", err)
		}
		if got != text {
			return fmt.Errorf("WebSocket: sent %q, got %q", text, got)
		}
		select {
		case <-l.ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// events reads an event stream until the proxy ends it between two events, which
// is no failure, or the load is stopped.
func (l *Load) events() error {
	req, err := http.NewRequestWithContext(l.ctx, http.MethodGet, "http://"+l.addr+"/sse?every=50ms", nil)
	if err != nil {
		return err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return l.unlessStopped(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /sse: %s", resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	inEvent := false
	for {
		line, err := lines.ReadString('\n')
		switch {
		case err == io.EOF && inEvent:
			return errors.New("GET /sse: cut in the middle of an event")
		case err == io.EOF:
			l.streamsClosed.Add(1)
			return nil
		case err != nil:
			return l.unlessStopped(fmt.Errorf("GET /sse: %w", err))
		}
		inEvent = line != "\n"
	}
}

func (l *Load) unlessStopped(err error) error {
	if l.ctx.Err() != nil {
		return nil
	}
	return err
}
