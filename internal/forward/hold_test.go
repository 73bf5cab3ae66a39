package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// mortal is an app that can die and come back at the same address.
type mortal struct {
	t       testing.TB
	scheme  string
	network string
	address string
	current atomic.Pointer[http.Server]
	handler http.HandlerFunc
}

// startMortal starts an app that speaks scheme, on a Unix socket if that is "unix".
func startMortal(t testing.TB, scheme string, handler http.HandlerFunc) *mortal {
	m := &mortal{t: t, scheme: scheme, network: "tcp", address: "127.0.0.1:0", handler: handler}
	if scheme == "unix" {
		m.network, m.address = "unix", testkit.SocketPath(t)
	}
	m.rise()
	t.Cleanup(m.die)
	return m
}

func (m *mortal) target() string {
	switch m.scheme {
	case "unix":
		return "unix/" + m.address
	case "http":
		return m.address
	}
	return m.scheme + "://" + m.address
}

func (m *mortal) rise() {
	l := testkit.Listen(m.t, m.network, m.address)
	m.address = l.Addr().String()
	s := &http.Server{Handler: m.handler, ReadHeaderTimeout: testkit.Timeout, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(m.scheme != "h2c")
	s.Protocols.SetUnencryptedHTTP2(m.scheme == "h2c")
	m.current.Store(s)
	go func() { _ = s.Serve(l) }()
}

func (m *mortal) die() { _ = m.current.Load().Close() }

// serveRelease returns a release with the given targets that holds requests for long, and
// a server whose requests it forwards. What fails is a 502.
func serveRelease(t testing.TB, change func(*api.DeployRequest), targets ...string) (*Release, *httptest.Server) {
	t.Helper()
	return serveWith(t, newTestForwarder(), change, targets...)
}

// serveWith is serveRelease with a forwarder of the caller's.
func serveWith(t testing.TB, f *Forwarder, change func(*api.DeployRequest), targets ...string) (*Release, *httptest.Server) {
	t.Helper()
	req := api.DeployRequest{Service: "app", Targets: targets, HoldTimeout: testkit.Milliseconds(int(testkit.Timeout.Milliseconds()))}
	if change != nil {
		change(&req)
	}
	s, err := req.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := f.NewRelease(s)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		r.Acquire()
		if err := r.Forward(w, in, "/", Sender{}); err != nil {
			fails(w, err)
		}
	}))
	t.Cleanup(func() {
		front.Close()
		r.Close()
	})
	return r, front
}

// outcome is that of a request.
type outcome struct {
	status int
	body   string
	failed string
	err    error
}

// begin makes a request, whose outcome it sends.
func begin(front *httptest.Server, method, body string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() { done <- o }()
		req, err := http.NewRequest(method, front.URL, nil)
		if err == nil && body != "" {
			req, err = http.NewRequest(method, front.URL, strings.NewReader(body))
		}
		if o.err = err; err != nil {
			return
		}
		resp, err := front.Client().Do(req)
		if o.err = err; err != nil {
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		o = outcome{resp.StatusCode, string(b), resp.Header.Get("X-Failed"), err}
	}()
	return done
}

// untilFailing waits until a request has found that the first target refuses connections.
func untilFailing(t testing.TB, r *Release) {
	t.Helper()
	for deadline := time.Now().Add(testkit.Timeout); !r.upstreams[0].failing(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("no request is held")
		}
	}
}

// TestGetThatTheOnlyTargetDiedWithIsSentAgainOnce when the target is back. A POST is not.
func TestGetThatTheOnlyTargetDiedWithIsSentAgainOnce(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "unix", "h2c"} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "DELETE"} {
			t.Run(scheme+" "+method, func(t *testing.T) {
				t.Parallel()
				var served atomic.Int64
				arrived := make(chan struct{}, 10)
				m := startMortal(t, scheme, func(w http.ResponseWriter, r *http.Request) {
					if served.Add(1) == 1 {
						arrived <- struct{}{}
						<-r.Context().Done()
						return
					}
					_, _ = io.WriteString(w, "back")
				})
				r, front := serveRelease(t, nil, m.target())
				done := begin(front, method, "")
				testkit.Receive(t, arrived, "the request")
				m.die()
				if method == "POST" || method == "DELETE" {
					if o := testkit.Receive(t, done, "the outcome"); o.status != http.StatusBadGateway || served.Load() != 1 {
						t.Errorf("%+v, sent %d times, want a 502 and that it is sent once", o, served.Load())
					}
					return
				}
				untilFailing(t, r)
				m.rise()
				if o := testkit.Receive(t, done, "the answer"); o.status != http.StatusOK || o.body != "back" && method != "HEAD" || served.Load() != 2 {
					t.Errorf("%+v, sent %d times, want the answer to the second", o, served.Load())
				}
			})
		}
	}
}

// TestGetThatAllTargetsDiedWithIsSentAgainOnce and not to each of them.
func TestGetThatAllTargetsDiedWithIsSentAgainOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3} {
		var served atomic.Int64
		var targets []string
		for range n {
			targets = append(targets, startMortal(t, "http", func(http.ResponseWriter, *http.Request) {
				served.Add(1)
				panic(http.ErrAbortHandler)
			}).target())
		}
		_, front := serveRelease(t, nil, targets...)
		if o := testkit.Receive(t, begin(front, "GET", ""), "the outcome"); o.status != http.StatusBadGateway || served.Load() != 2 {
			t.Errorf("%d targets: %+v, sent %d times, want a 502 after two", n, o, served.Load())
		}
	}
}

// TestGetWhoseAnswerHasBegunIsNotSentAgain be it by a hint alone, nor one that has no
// proper answer.
func TestGetWhoseAnswerHasBegunIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"a hint":       "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		"no HTTP":      "220 mail.example.com ESMTP\r\n",
		"no such HTTP": "HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
	} {
		var served atomic.Int64
		l := testkit.Listen(t, "tcp", "127.0.0.1:0")
		go serveRaw(l, func(conn net.Conn) {
			served.Add(1)
			_, _ = io.WriteString(conn, answer)
		})
		_, front := serveRelease(t, nil, l.Addr().String())
		if o := testkit.Receive(t, begin(front, "GET", ""), "the outcome"); o.status != http.StatusBadGateway || served.Load() != 1 {
			t.Errorf("%s: %+v, sent %d times, want a 502 after one", name, o, served.Load())
		}
	}
}

// serveRaw calls answer for each connection on which a request has begun to come, and
// closes it.
func serveRaw(l net.Listener, answer func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if n, _ := conn.Read(make([]byte, 4096)); n > 0 {
				answer(conn)
			}
		}()
	}
}

// TestRequestThatReachedNoTargetIsHeldWithItsBody though a part of the body has been read
// by the time that the connection turns out to be closed.
func TestRequestThatReachedNoTargetIsHeldWithItsBody(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "unix"} {
		for name, size := range map[string]int{"small": 10, "large": 300_000} {
			t.Run(scheme+", "+name, func(t *testing.T) {
				t.Parallel()
				var served atomic.Int64
				m := startMortal(t, scheme, func(w http.ResponseWriter, r *http.Request) {
					served.Add(1)
					_, _ = io.Copy(w, r.Body)
				})
				r, front := serveRelease(t, nil, m.target())
				forward := front.Config.Handler
				front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
					if in.ContentLength != 0 {
						in.Body = &fatalBody{in.Body, m.die}
					}
					forward.ServeHTTP(w, in)
				})
				if o := testkit.Receive(t, begin(front, "GET", ""), "an answer"); o.status != http.StatusOK {
					t.Fatalf("%+v", o)
				}
				body := strings.Repeat("a", size)
				done := begin(front, "POST", body)
				untilFailing(t, r)
				m.rise()
				if o := testkit.Receive(t, done, "the answer"); o.status != http.StatusOK || o.body != body || served.Load() != 2 {
					t.Errorf("%d %.100q %s %v, the app has served %d, want the answer to a POST that is sent once", o.status, o.body, o.failed, o.err, served.Load())
				}
			})
		}
	}
}

// fatalBody is a body whose first byte the app does not survive.
type fatalBody struct {
	io.ReadCloser
	die func()
}

func (b *fatalBody) Read(p []byte) (int, error) {
	if b.die != nil {
		b.die()
		b.die = nil
	}
	return b.ReadCloser.Read(p)
}

// TestConnectionThatClosesBeforeARequestIsNoAnswerToIt and so a POST is held, if it is
// the first on a new connection, too.
func TestConnectionThatClosesBeforeARequestIsNoAnswerToIt(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"no body": "", "a body": "hello", "a large body": strings.Repeat("a", 300_000)} {
		var tries, served atomic.Int64
		app := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
			served.Add(1)
			_, _ = io.Copy(w, r.Body)
		})
		r, front := serveRelease(t, nil, app.Target)
		tr := r.upstreams[0].transport.(*transport.Transport)
		dial := tr.Dial
		tr.Dial = func(ctx context.Context) (net.Conn, error) {
			if tries.Add(1) > 3 {
				return dial(ctx)
			}
			return closedConn(t)
		}
		if o := testkit.Receive(t, begin(front, "POST", body), "the answer"); o.status != http.StatusOK || o.body != body || served.Load() != 1 {
			t.Errorf("%s: %d %.100q %s %v, served %d times", name, o.status, o.body, o.failed, o.err, served.Load())
		}
	}
}

// closedConn returns a connection that its other side has closed.
func closedConn(t testing.TB) (net.Conn, error) {
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	other, err := l.Accept()
	if err != nil {
		return nil, err
	}
	return conn, other.Close()
}

// TestGetThatWasSentAgainByTheNextReleaseIsNotSentOnceMore though that release has not seen
// it before.
func TestGetThatWasSentAgainByTheNextReleaseIsNotSentOnceMore(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	var old, next *Release
	dies := func(http.ResponseWriter, *http.Request) {
		served.Add(1)
		old.StopAcquiring() // as the switch does
		panic(http.ErrAbortHandler)
	}
	old, _ = serveRelease(t, nil, startMortal(t, "http", dies).target())
	next, front := serveRelease(t, nil, startMortal(t, "http", dies).target())
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		old.Acquire()
		err := old.Forward(w, in, "/", Sender{})
		if errors.Is(err, ErrMoved) {
			next.Acquire()
			err = next.Forward(w, in, "/", Sender{})
		} else {
			t.Errorf("%v, want that it moves", err)
		}
		if err != nil {
			fails(w, err)
		}
	})
	if o := testkit.Receive(t, begin(front, "GET", ""), "the outcome"); o.status != http.StatusBadGateway || served.Load() != 2 {
		t.Errorf("%+v, sent %d times, want a 502 after two", o, served.Load())
	}
}
