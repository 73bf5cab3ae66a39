package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// permissionApp says which names may have certificates, at /ask, and counts how often
// it was asked.
func permissionApp(asked *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		q := r.URL.Query()
		switch host := q.Get("host"); {
		case r.URL.Path != "/ask" || q.Get("key") != "1" || q.Get("domain") != host:
			w.WriteHeader(http.StatusBadRequest)
		case strings.HasPrefix(host, "moved"):
			http.Redirect(w, r, "/ask?key=1&host=yes.test&domain=yes.test", http.StatusFound)
		case strings.HasPrefix(host, "broken"):
			w.WriteHeader(http.StatusInternalServerError)
		case strings.HasPrefix(host, "created"):
			w.WriteHeader(http.StatusCreated)
		case !strings.HasPrefix(host, "yes"):
			w.WriteHeader(http.StatusForbidden)
		}
	}
}

func TestCertificatesOnDemandAreForWhoMayHaveThem(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	external := httptest.NewServer(permissionApp(&asked))
	t.Cleanup(external.Close)
	for name, url := range map[string]string{"a URL": external.URL + "/ask?key=1", "the service itself": "/ask?key=1"} {
		e := newTestEngine(t, withCertifier(newFakeCertifier()))
		req := requestFor("app", testkit.StartHandler(t, permissionApp(&asked)))
		req.TLS = &api.TLSRequest{OnDemandURL: url}
		e.deploy(req)
		asked.Store(0)
		for host, want := range map[string]error{
			"yes.test": nil, "no.test": ErrNoCertificate, "moved.test": ErrNoCertificate, "created.test": ErrNoCertificate,
			"broken.test": ErrNoPermission,
		} {
			if got := e.AllowCertificate(t.Context(), "app", host); !errors.Is(got, want) {
				t.Errorf("%s, %s: %v, want %v", name, host, got, want)
			}
			// Answers are remembered, trouble is not.
			before := asked.Load()
			again := e.AllowCertificate(t.Context(), "app", host)
			if askedAgain := asked.Load() > before; !errors.Is(again, want) || askedAgain != errors.Is(want, ErrNoPermission) {
				t.Errorf("%s, %s: %v the second time, asked again %t", name, host, again, askedAgain)
			}
		}
		site, ok := e.TLSName("Yes.test")
		if !ok || site.Allow == nil || site.Host != "yes.test" {
			t.Errorf("a handshake for a name on demand finds %+v, %t", site, ok)
		}
	}
}

func TestNobodyToAskMeansNoAnswer(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	req := requestFor("app", testkit.StartApp(t, "a"))
	req.TLS = &api.TLSRequest{OnDemandURL: "http://" + testkit.RefusedAddress + "/ask"}
	e.deploy(req)
	if err := e.AllowCertificate(t.Context(), "app", "yes.test"); !errors.Is(err, ErrNoPermission) || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	if err := e.AllowCertificate(t.Context(), "other", "yes.test"); !errors.Is(err, ErrNoCertificate) {
		t.Error(err)
	}
}

func TestSlowPermissionIsNone(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	slow := testkit.StartHandler(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	req := requestFor("app", slow)
	req.TLS = &api.TLSRequest{OnDemandURL: "/ask"}
	e.deploy(req)
	begun := time.Now()
	err := e.AllowCertificate(context.Background(), "app", "yes.test")
	if took := time.Since(begun); !errors.Is(err, ErrNoPermission) || took < defaultPermissionTimeout/2 || took > testkit.Timeout {
		t.Errorf("%v after %s", err, took)
	}
}

func TestPermissionsAreBoundedAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c permissionCache
		ask := func(host string, answer error) (known bool) {
			_, known = c.begin(permissionKey{"u", host}, time.Now())
			if !known {
				c.end(permissionKey{"u", host}, answer, time.Now())
			}
			return known
		}
		for _, tc := range []struct {
			answer error
			lasts  time.Duration
		}{{nil, permittedFor}, {ErrNoCertificate, deniedFor}} {
			ask("a", tc.answer)
			time.Sleep(tc.lasts - 1)
			if !ask("a", tc.answer) {
				t.Errorf("the answer %v is forgotten too soon", tc.answer)
			}
			time.Sleep(time.Nanosecond)
			if ask("a", tc.answer) {
				t.Errorf("the answer %v is never forgotten", tc.answer)
			}
			time.Sleep(time.Hour)
		}
		for i := range maxParallelQuestions {
			if _, known := c.begin(permissionKey{"u", string(rune('A' + i))}, time.Now()); known {
				t.Fatalf("question %d is not asked", i)
			}
		}
		if err, known := c.begin(permissionKey{"u", "one more"}, time.Now()); !known || !errors.Is(err, ErrNoPermission) {
			t.Errorf("one question too many: %v, %t", err, known)
		}
		for i := range maxParallelQuestions {
			c.end(permissionKey{"u", string(rune('A' + i))}, ErrNoPermission, time.Now())
		}
		for i := range 3 * maxPermissions {
			host := strconv.Itoa(i)
			c.begin(permissionKey{host[:1], host}, time.Now())
			c.end(permissionKey{host[:1], host}, nil, time.Now())
			total := 0
			for _, u := range c.urls {
				total += len(u.answers)
			}
			if total > maxPermissions || total != c.answers {
				t.Fatalf("%d answers are remembered, counted as %d", total, c.answers)
			}
		}
		// Nothing stays of URLs that are asked no more.
		time.Sleep(time.Hour)
		for i := range maxPermissions {
			c.begin(permissionKey{"last", strconv.Itoa(i)}, time.Now())
			c.end(permissionKey{"last", strconv.Itoa(i)}, nil, time.Now())
		}
		if len(c.urls) != 1 {
			t.Errorf("%d URLs are remembered", len(c.urls))
		}
	})
}

// Names can be made up for one service, and it may be slow to deny them. Others are
// asked all the same, and what they have allowed is remembered.
func TestMadeUpNamesOfOneServiceCostNoOther(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	asked, goOn := make(chan struct{}, 2*maxParallelQuestions), make(chan struct{})
	slow := requestFor("a", testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ask" {
			asked <- struct{}{}
			<-goOn
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	slow.Hosts, slow.TLS = []string{"*.a.test"}, &api.TLSRequest{OnDemandURL: "/ask"}
	e.deploy(slow)
	var known atomic.Int64
	quick := requestFor("b", testkit.StartHandler(t, permissionApp(&known)))
	quick.Hosts, quick.TLS = []string{"*.test"}, &api.TLSRequest{OnDemandURL: "/ask?key=1"}
	e.deploy(quick)

	var all sync.WaitGroup
	for i := range maxParallelQuestions {
		all.Go(func() { _ = e.AllowCertificate(t.Context(), "a", fmt.Sprintf("x%d.a.test", i)) })
	}
	for range maxParallelQuestions {
		testkit.Receive(t, asked, "a question")
	}
	err := e.AllowCertificate(t.Context(), "b", "yes.test")
	close(goOn)
	all.Wait()
	if err != nil {
		t.Errorf("while another service is asked: %v", err)
	}
	for i := range 2 * maxPermissions {
		key := permissionKey{"a/ask", fmt.Sprintf("y%d.a.test", i)}
		if _, known := e.permissions.begin(key, time.Now()); known {
			t.Fatalf("question %d is not asked", i)
		}
		e.permissions.end(key, ErrNoCertificate, time.Now())
	}
	if err := e.AllowCertificate(t.Context(), "b", "yes.test"); err != nil || known.Load() != 1 {
		t.Errorf("%d names later: %v, asked %d times", 2*maxPermissions, err, known.Load())
	}
}

// TestDrainWaitsForTheQuestionAboutAName that the old target is busy with.
func TestDrainWaitsForTheQuestionAboutAName(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	ask := func(service *testkit.App) api.DeployRequest {
		req := requestFor("app", service)
		req.TLS = &api.TLSRequest{OnDemandURL: "/ask"}
		return req
	}
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	e.permissionTimeout = testkit.Timeout // the gate and the drain take their time on a busy machine
	e.deploy(ask(testkit.StartHandler(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ask" {
			close(asked)
			<-answer
		}
	})))
	allowed := make(chan error, 1)
	go func() { allowed <- e.AllowCertificate(t.Context(), "app", "name.test") }()
	testkit.Receive(t, asked, "the question")
	next := e.start(ask(testkit.StartApp(t, "next")))
	// The first event comes before the drain has counted, the second from within it.
	await(t, next, api.EventDraining, 2)
	close(answer)
	if err := testkit.Receive(t, allowed, "the answer"); err != nil {
		t.Error(err)
	}
	if status, err := wait(t, next); err != nil || status.Drained[0].Requests != 1 || status.Drained[0].CutRequests != 0 {
		t.Errorf("%v, %+v, want a drain of 1 request", err, status.Drained)
	}
	if s, err := e.Service("app"); err != nil || s.Served != 0 {
		t.Errorf("%v, %d requests served, want none: nobody has made one", err, s.Served)
	}
}
