package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// serve returns a client of an admin endpoint, with little patience.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c := newClient(endpoint{Address: Address{Network: "tcp", Address: server.Listener.Addr().String()}, named: true})
	c.answerTimeout, c.quietTimeout = 250*time.Millisecond, 100*time.Millisecond
	return c
}

// event returns a line of a stream.
func event(ev api.Event) string {
	b, _ := json.Marshal(ev)
	return string(b) + "\n"
}

// A certificate takes minutes, and a drain can take a day, without a word.
func TestQuietDeployIsWaitedFor(t *testing.T) {
	asked := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(api.DeploymentStatus{ID: "1", State: api.StateDraining})
			asked <- struct{}{}
			return
		}
		fmt.Fprint(w, event(api.Event{Kind: api.EventAccepted, Deployment: "1"}), "\n")
		_ = http.NewResponseController(w).Flush()
		for range 5 { // the client has asked five times: it would have lost patience
			<-asked
		}
		fmt.Fprint(w, event(api.Event{Kind: api.EventEnded, Deployment: "1", Result: &api.DeploymentStatus{}}))
	})
	c.answerTimeout = time.Minute
	var kinds []api.EventKind
	err := c.Stream(t.Context(), api.DeployPath("a"), nil, func(ev api.Event) error {
		kinds = append(kinds, ev.Kind)
		return nil
	})
	if err != nil || fmt.Sprint(kinds) != "[accepted ended]" {
		t.Errorf("%v, %v", kinds, err)
	}
}

// A command that waits for ever keeps a pipeline for as long.
func TestSilentProxyIsGivenUpOn(t *testing.T) {
	silent := func(r *http.Request) { <-r.Context().Done() }
	for name, handler := range map[string]http.HandlerFunc{
		"no head": func(_ http.ResponseWriter, r *http.Request) { silent(r) },
		"no event": func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			silent(r)
		},
		"half an answer": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"event":`)
			_ = http.NewResponseController(w).Flush()
			silent(r)
		},
		"stopped behind the first event": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				fmt.Fprint(w, event(api.Event{Kind: api.EventAccepted, Deployment: "1"}))
				_ = http.NewResponseController(w).Flush()
			}
			silent(r)
		},
		"the stream does not end": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_ = json.NewEncoder(w).Encode(api.DeploymentStatus{ID: "1", State: api.StateDone})
				return
			}
			fmt.Fprint(w, event(api.Event{Kind: api.EventAccepted, Deployment: "1"}))
			_ = http.NewResponseController(w).Flush()
			silent(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, handler)
			err := c.Stream(t.Context(), api.DeployPath("a"), nil, func(api.Event) error { return nil })
			if api.ErrorCode(err) != CodeUnreachable || !strings.Contains(err.Error(), "has said nothing for") {
				t.Errorf("a stream: %v", err)
			}
			if name == "no head" || name == "half an answer" {
				var out api.DeploymentStatus
				err := c.Call(t.Context(), http.MethodGet, api.PathServices, nil, &out)
				if api.ErrorCode(err) != CodeUnreachable || !strings.Contains(err.Error(), "has said nothing for") {
					t.Errorf("a call: %v", err)
				}
			}
		})
	}
}

func TestInterruptedCallSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	c.answerTimeout = time.Minute
	var out api.ServiceStatus
	if err := c.CallUntilDone(ctx, http.MethodDelete, api.ServicePath("a"), nil, &out); api.ErrorCode(err) != CodeInterrupted {
		t.Errorf("%v", err)
	}
}

// What answers may be no proxy, or pass on what others have said.
func TestAnswersSteerNoTerminal(t *testing.T) {
	const bad = "a\x1b[2J\u009b\u202e\u200f\nb"
	const good = "a?[2J????b"
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	now := time.Now()
	c := serve(t, answer(api.ServiceList{Services: []api.ServiceStatus{{
		Name: bad, Hosts: []string{bad}, Certificates: []api.Certificate{{Host: bad, NotAfter: &now}},
		Active: &api.ReleaseStatus{Targets: []api.TargetStatus{{Address: bad, Health: bad}}, Options: api.Options{TLS: &api.TLSOptions{OnDemandURL: bad}}},
	}}}))
	services, err := c.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := services[0]
	for _, got := range []string{s.Name, s.Hosts[0], s.Certificates[0].Host, s.Active.Targets[0].Address, string(s.Active.Targets[0].Health), s.Active.Options.TLS.OnDemandURL} {
		if got != good {
			t.Errorf("%q, want %q", got, good)
		}
	}

	c = serve(t, answer(api.Event{Kind: api.EventEnded, Reason: bad, Result: &api.DeploymentStatus{Error: &api.Error{Message: bad}}}))
	err = c.Stream(t.Context(), "/", nil, func(ev api.Event) error {
		if ev.Reason != good || ev.Result.Error.Message != good {
			t.Errorf("%+v", ev)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	for name, handler := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			answer(api.Failure{Error: &api.Error{Code: api.CodeInvalid, Message: bad, Hint: bad, Details: []api.ProbeReport{{URL: bad}}}})(w, nil)
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, bad, http.StatusTeapot) },
		"a status": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			fmt.Fprintf(conn, "HTTP/1.1 418 \x1b[2J\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		},
		"no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			fmt.Fprintf(conn, "\x1b[2J\r\n\r\n")
			conn.Close()
		},
	} {
		_, err := serve(t, handler).Services(t.Context())
		e := api.AsError(err)
		if err == nil || strings.ContainsFunc(e.Message+e.Hint+fmt.Sprint(e.Details), api.IsControl) {
			t.Errorf("%s: %q", name, err)
		}
	}
}

// What answers may be no proxy of ours.
func TestEventsThatLackWhatTheyAreAboutAreAnError(t *testing.T) {
	for _, kind := range []api.EventKind{api.EventHealthy, api.EventCertified, api.EventDrained, api.EventEnded} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, event(api.Event{Kind: kind})) })
		err := c.Stream(t.Context(), "/", nil, func(ev api.Event) error {
			t.Errorf("%+v is told of", ev)
			return nil
		})
		if api.ErrorCode(err) != CodeUnreachable || !strings.Contains(err.Error(), string(kind)) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// A redirect would have a removal become a look at something else.
func TestRedirectsAreNotFollowed(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			fmt.Fprint(w, "{}")
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
	})
	var removal api.Removal
	if err := c.Call(t.Context(), http.MethodDelete, api.ServicePath("a"), nil, &removal); err == nil {
		t.Error("the answer is taken for that to the call")
	}
}

func TestSocketOfNobodyIsNoProxy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	_, err := New("unix/" + path)
	if api.ErrorCode(err) != CodeUnreachable || !strings.Contains(err.Error(), "no proxy answers at unix/"+path) {
		t.Errorf("%v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := New(path); err != nil || c.Address().Address != path {
		t.Errorf("%v", err)
	}
}
