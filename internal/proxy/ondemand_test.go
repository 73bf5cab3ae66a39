package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
		req := requestFor("app", startHandler(t, permissionApp(&asked)))
		req.TLS = &TLSRequest{OnDemandURL: url}
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
		site, ok := e.TLSSite("Yes.test")
		if !ok || !site.OnDemand || site.Host != "yes.test" {
			t.Errorf("a handshake for a name on demand finds %+v, %t", site, ok)
		}
	}
}

func TestNobodyToAskMeansNoAnswer(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	req := requestFor("app", startApp(t, "a"))
	req.TLS = &TLSRequest{OnDemandURL: "http://" + refusedAddress + "/ask"}
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
	slow := startHandler(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	req := requestFor("app", slow)
	req.TLS = &TLSRequest{OnDemandURL: "/ask"}
	e.deploy(req)
	begun := time.Now()
	err := e.AllowCertificate(context.Background(), "app", "yes.test")
	if took := time.Since(begun); !errors.Is(err, ErrNoPermission) || took < permissionTimeout/2 || took > testTimeout {
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
		c.answers = make(map[permissionKey]permission, maxPermissions)
		for i := range maxPermissions {
			c.answers[permissionKey{"u", time.Duration(i).String()}] = permission{}
		}
		c.end(permissionKey{"u", "A"}, nil, time.Now())
		if len(c.answers) > maxPermissions {
			t.Errorf("%d answers are remembered", len(c.answers))
		}
	})
}
