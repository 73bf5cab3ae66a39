package front

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// startAdmin has a server listen as Caddy's admin server does.
func (s *site) startAdmin(handler http.Handler) *config {
	s.t.Helper()
	l, err := s.sockets.listenAdmin(context.Background(), s.address, net.ListenConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	c := &config{Server: &http.Server{Handler: handler}, listener: l, served: make(chan error, 1)}
	go func() { c.served <- c.Serve(l) }()
	s.t.Cleanup(func() { c.stop(s.t) })
	return c
}

func TestCallsOfAnAdminEndpointGoOnWithTheNewestConfig(t *testing.T) {
	s := newSite(t)
	config := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !Introduced(r) {
				answer(name)(w, r)
			}
		})
	}
	first := s.startAdmin(config("first"))
	caller := s.client(first)
	caller.expect("first", true)
	for i := range 20 {
		name := fmt.Sprint("config ", i)
		next := s.startAdmin(config(name))
		if i%2 == 0 {
			first.stop(t) // as Caddy does, which does not wait for more than the new listener
		}
		for end := time.Now().Add(patience); ; {
			if got, goesOn := caller.ask(); !goesOn {
				t.Fatal("the connection ends")
			} else if got == name {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s gets no calls", name)
			}
		}
		first.stop(t)
		caller.expect(name, true)
		first = next
	}
}

// A server that does not know us, such as one with origins that we do not have, serves its
// connections itself.
func TestAdminServerThatIsNotIntroducedIsServed(t *testing.T) {
	s := newSite(t)
	first := s.startAdmin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/parachute/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		answer("mine")(w, r)
	}))
	s.client(first).expect("mine", true)
}

func TestClientsCannotIntroduceThemselves(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, introductionPath, nil)
	if Introduced(r) || Introduced(r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{}))) {
		t.Error("a request of a client introduces a server")
	}
}
