package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// raw sends bytes and returns the status of the answer.
func (e *testEngine) raw(request string) int {
	e.t.Helper()
	conn, r := e.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		e.t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		e.t.Fatalf("%q: %v", request, err)
	}
	return resp.StatusCode
}

// deployRaw deploys targets that answer no probes.
func (e *testEngine) deployRaw(change func(*api.DeployRequest), targets ...string) {
	e.t.Helper()
	req := api.DeployRequest{Service: "app", Targets: targets, Force: true, HealthCheckInterval: testkit.Milliseconds(60_000)}
	if change != nil {
		change(&req)
	}
	e.deploy(req)
}

func TestRequestLinesAreKeptByteForByte(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	lines := make(chan string, 1)
	target := testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		line, _ := r.ReadString('\n')
		lines <- strings.TrimSpace(line)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	e.deployRaw(func(r *api.DeployRequest) { r.PathPrefixes = []string{"/", "/api"} }, target)
	// What is left of a path whose prefix is stripped is that of the clean path.
	clean := map[string]string{"//x": "/x", "/x//y/": "/x/y/", "/a/../b": "/b", "/a/./b": "/a/b"}
	for _, path := range []string{
		"/", "/x", "//x", "/x//y/", "/x%2Fy", "/x%2fy", "/%7Ex", "/a/../b", "/a/./b", "/b%C3%BCcher", "/;a=b,c:d@e!$&'()*+",
		"/a|b", "/{id}", "/a%2Fb|c", "/<x>^`\\",
		"/?", "/x?a;b", "/x?a=%zz", "/x?a;b=%zz&c=d;e", "/x?%", "/x?a=b+c%20d&&&==", "/x?q=http://x/?y", "/x?" + strings.Repeat("a", 2000),
	} {
		for _, prefix := range []string{"", "/api"} {
			if status := e.raw("GET " + prefix + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); status != http.StatusOK {
				t.Errorf("%s: %d", prefix+path, status)
				continue
			}
			want := "GET " + path + " HTTP/1.1"
			if left, ok := clean[path]; ok && prefix != "" {
				want = "GET " + left + " HTTP/1.1"
			}
			if got := testkit.Receive(t, lines, "the request line"); got != want {
				t.Errorf("%s: the target gets %q, want %q", prefix+path, got, want)
			}
		}
	}
}

// TestUnforwardableRequestsAreRefused because they ask for a tunnel, or can be read
// in two ways.
func TestUnforwardableRequestsAreRefused(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	app := testkit.StartApp(t, "app")
	e.deployRaw(nil, app.Target)
	const rest = " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	for line, want := range map[string]int{
		"GET http://h":      http.StatusOK,
		"GET http://h/x":    http.StatusOK,
		"CONNECT inside:22": http.StatusBadRequest,
		"GET *":             http.StatusBadRequest,
		"GET http:admin/x":  http.StatusBadRequest,
		"GET /?q=\xfc":      http.StatusBadRequest,
		"GET /a#b":          http.StatusBadRequest,
	} {
		if got := e.raw(line + rest); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}

// TestH2cUpgradeIsNotPassedOn because what follows would be a blind tunnel.
func TestH2cUpgradeIsNotPassedOn(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	seen := make(chan http.Header, 1)
	e.deployRaw(nil, testkit.StartHandler(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }).Target)
	if status := e.raw("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	h := testkit.Receive(t, seen, "the request")
	for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} {
		if v, ok := h[name]; ok {
			t.Errorf("the app gets %s: %q", name, v)
		}
	}
}

// TestEarlyAnswerDoesNotCutTheUploadShort of an app that answers while it reads.
func TestEarlyAnswerDoesNotCutTheUploadShort(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	arrived := make(chan string, 1)
	e.deployRaw(nil, testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.EnableFullDuplex()
		first := make([]byte, len("first"))
		_, _ = io.ReadFull(r.Body, first)
		_ = c.Flush() // the answer begins
		rest, err := io.ReadAll(r.Body)
		arrived <- fmt.Sprint(string(first), string(rest), err)
	}).Target)
	body, send := io.Pipe()
	req := e.request("POST", "h", "/", body)
	go func() { _, _ = io.WriteString(send, "first") }()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.WriteString(send, "second")
	send.Close()
	if got := testkit.Receive(t, arrived, "the upload"); got != "firstsecond<nil>" {
		t.Errorf("the app got %q", got)
	}
}

// TestRequestTrailersArrive with their values, which come after the body.
func TestRequestTrailersArrive(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	trailers := make(chan http.Header, 1)
	e.deployRaw(nil, testkit.StartHandler(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer
	}).Target)
	e.raw("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")
	if got := testkit.Receive(t, trailers, "the trailers").Get("X-Sum"); got != "42" {
		t.Errorf("the app gets the trailer %q", got)
	}
}

// TestWhatAClientSendsDoesNotBlameTheTarget sends bodies that turn out to be
// malformed when the target has already got a part of them.
func TestWhatAClientSendsDoesNotBlameTheTarget(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	req.HealthCheckInterval = testkit.Milliseconds(60_000)
	e.deploy(req)
	before := e.target("app", 0)
	const head = "POST /x HTTP/1.1\r\nHost: h\r\n"
	for name, request := range map[string]string{
		"bad chunk size":         head + "Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n",
		"underscore in a size":   head + "Transfer-Encoding: chunked\r\n\r\n1_0\r\nhello\r\n0\r\n\r\n",
		"no line end":            head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
		"bad chunk after a good": head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n",
		"bad method":             "GET? /x HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		if status := e.raw(request); status != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", name, status)
		}
	}
	for len(e.errs) > 0 {
		<-e.errs
	}
	for name, request := range map[string]string{
		"truncated body":  head + "Content-Length: 100\r\n\r\nhello",
		"truncated chunk": head + "Transfer-Encoding: chunked\r\n\r\n64\r\nhello",
		"no last chunk":   head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		conn, _ := e.dial()
		_, _ = io.WriteString(conn, request)
		_ = conn.Close()
		if err := testkit.Receive(t, e.errs, "the error"); !errors.Is(err, forward.ErrBadRequest) && !errors.Is(err, forward.ErrClientGone) {
			t.Errorf("%s: %v, want the client to be blamed", name, err)
		}
	}
	// A method the server lets through but no field name is.
	r := e.request("GET", "h", "/", nil)
	r.Method = "GET?"
	if err := e.ServeHTTP(nil, r, "", forward.Sender{}); !errors.Is(err, forward.ErrBadRequest) {
		t.Errorf("bad method: %v, want %v", err, forward.ErrBadRequest)
	}
	after := e.target("app", 0)
	if after.Health != before.Health || after.Reason != before.Reason || !after.Since.Equal(*before.Since) {
		t.Errorf("the target's health is %+v, was %+v", after, before)
	}
	e.settle()
	if n := e.Services()[0].Active.Requests; n != 0 {
		t.Errorf("%d requests are still in flight", n)
	}
}

func TestClientThatGoesAwayIsNotTheTargetsFault(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	ctx, cancel := context.WithCancel(t.Context())
	go e.do(e.request("GET", "h", "/slow", nil).WithContext(ctx))
	testkit.Receive(t, a.Arrived, "the request")
	cancel()
	if err := testkit.Receive(t, e.errs, "the error"); !errors.Is(err, forward.ErrClientGone) {
		t.Errorf("%v, want %v", err, forward.ErrClientGone)
	}
	if u := e.target("app", 0); u.Health != api.HealthHealthy || u.Requests != 0 {
		t.Errorf("the target is %s with %d requests", u.Health, u.Requests)
	}
}

func TestFailuresOfTargetsAreToldApart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(int, net.Conn, *bufio.Reader)
		want   error
	}{
		"garbage": {func(_ int, c net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			_, _ = io.WriteString(c, "220 mail ESMTP\r\n")
		}, forward.ErrBadGateway},
		"hangs up":        {func(_ int, _ net.Conn, r *bufio.Reader) { _, _ = r.ReadString('\n') }, forward.ErrBadGateway},
		"does not answer": {func(_ int, _ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }, forward.ErrTimeout},
	} {
		e := newTestEngine(t)
		e.deployRaw(func(r *api.DeployRequest) {
			r.TargetTimeout, r.HoldTimeout = testkit.Milliseconds(50), testkit.Milliseconds(0)
		}, testkit.StartRawApp(t, tt.answer))
		status, _ := e.do(e.request("POST", "h", "/", strings.NewReader("x")))
		err := testkit.Receive(t, e.errs, "the error")
		if !errors.Is(err, tt.want) || status != statusOf(tt.want) || errors.Unwrap(err) == nil {
			t.Errorf("%s: %d, %v, want %v and its cause", name, status, err, tt.want)
		}
	}
	e := newTestEngine(t)
	e.deployRaw(func(r *api.DeployRequest) { r.HoldTimeout = testkit.Milliseconds(0) }, testkit.RefusedAddress)
	_, _ = e.get("h", "/")
	if err := testkit.Receive(t, e.errs, "the error"); !errors.Is(err, forward.ErrUnreachable) {
		t.Errorf("nothing listens: %v, want %v", err, forward.ErrUnreachable)
	}
}

// TestCutAnswerDoesNotLookComplete to the client, whether its length is known or
// not.
func TestCutAnswerDoesNotLookComplete(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"length":  "Content-Length: 100\r\n\r\nhello",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		e := newTestEngine(t)
		e.deployRaw(nil, testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+head)
		}))
		resp, err := e.client.Do(e.request("GET", "h", "/", nil))
		if err != nil {
			continue // cut even before the head was sent
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the client believes that %q is everything", name, body)
		}
		_ = resp.Body.Close()
	}
}

func TestAnswersAreNotHeldBack(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]func(http.Header){
		"chunked":      func(http.Header) {},
		"event stream": func(h http.Header) { h.Set("Content-Type", "text/event-stream; charset=utf-8") },
		"told not to": func(h http.Header) {
			h.Set("X-Accel-Buffering", "no")
			h.Set("Content-Length", "10")
		},
	} {
		e := newTestEngine(t)
		goOn := make(chan struct{})
		e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
			head(w.Header())
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			_, _ = io.WriteString(w, "after")
		})))
		resp, err := e.client.Do(e.request("GET", "h", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
			t.Errorf("%s: %q, %v", name, first, err)
		}
		close(goOn)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "after" {
			t.Errorf("%s: %q, %v", name, rest, err)
		}
		_ = resp.Body.Close()
	}
}

func TestTrailersAndEarlyHintsArrive(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		for range 3 {
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Set("Trailer", "Grpc-Status")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(bytes.ToUpper(body))
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("Grpc-Status", "0")
	})))
	hints := 0
	req := e.request("POST", "h", "/", strings.NewReader("body"))
	req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				hints++
			}
			return nil
		},
	}))
	resp, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "BODY" || resp.Trailer.Get("Grpc-Status") != "0" || hints != 3 {
		t.Errorf("%q, %v, trailer %v, %d hints, want BODY, a trailer and 3 hints", body, err, resp.Trailer, hints)
	}
}

// TestHintsAndContinueComeWhole, also when the target says both at once, or hints while a
// client waits whom it never tells to go on.
func TestHintsAndContinueComeWhole(t *testing.T) {
	t.Parallel()
	const hints, hint = 50, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
	for _, c := range []struct {
		name  string
		begin func(conn net.Conn)
		tries int
	}{
		{"both at once", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"+strings.Repeat(hint, hints))
		}, 300},
		{"hints alone", func(conn net.Conn) {
			// Longer than the transport waits to be told.
			ticks := time.NewTicker(25 * time.Millisecond)
			defer ticks.Stop()
			for range hints {
				<-ticks.C
				_, _ = io.WriteString(conn, hint)
			}
		}, 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			e.deploy(api.DeployRequest{Service: "app", Targets: []string{testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if req.ContentLength > 0 {
					c.begin(conn)
					_, _ = io.Copy(io.Discard, req.Body)
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			})}})
			var clients sync.WaitGroup
			for range c.tries {
				clients.Go(func() {
					conn, r := e.dial()
					_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
					var got strings.Builder
					for sent := false; ; {
						line, err := r.ReadString('\n')
						got.WriteString(line)
						if err != nil {
							break
						}
						if strings.Contains(line, " 100 ") && !sent {
							sent = true
							_, _ = io.WriteString(conn, "hello")
						}
					}
					all := got.String()
					if strings.Count(all, "HTTP/1.1 100 Continue\r\n\r\n") != 1 || strings.Count(all, hint) != hints || !strings.HasSuffix(all, "\r\n\r\nok") {
						t.Errorf("the client got %q", all)
					}
				})
				if c.tries > 100 {
					clients.Wait() // one after the other
				}
			}
			clients.Wait()
		})
	}
}

// TestClientOverHTTP2MayGoAmidHints: its server may still be writing one of them.
func TestClientOverHTTP2MayGoAmidHints(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"", "h2c://"} {
		t.Run("to "+scheme, func(t *testing.T) {
			t.Parallel()
			app := testkit.NewApp("app")
			app.Handler = func(w http.ResponseWriter, r *http.Request) {
				for i := range 20 {
					w.Header().Set(fmt.Sprint("X-Hint-", i), "hint")
				}
				for range 50 {
					if r.URL.Path == "/hints" {
						w.WriteHeader(http.StatusEarlyHints)
					}
				}
			}
			app.Server.Protocols = new(http.Protocols)
			app.Server.Protocols.SetHTTP1(scheme == "")
			app.Server.Protocols.SetUnencryptedHTTP2(scheme != "")
			app.Start(t, testkit.Listen(t, "tcp", "127.0.0.1:0"))
			app.Target = scheme + app.Target
			e := newTestEngine(t)
			e.deploy(requestFor("app", app))
			tr := &http.Transport{Protocols: new(http.Protocols)}
			tr.Protocols.SetUnencryptedHTTP2(true)
			t.Cleanup(tr.CloseIdleConnections)
			var clients sync.WaitGroup
			for i := range 8 {
				clients.Go(func() {
					for j := range 100 {
						ctx, cancel := context.WithCancel(t.Context())
						wanted := 1 + (i+j)%10
						ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
							if wanted--; wanted == 0 {
								cancel()
							}
							return nil
						}})
						if resp, err := tr.RoundTrip(e.request("GET", "h", "/hints", nil).WithContext(ctx)); err == nil {
							_ = resp.Body.Close()
						}
						cancel()
					}
				})
			}
			clients.Wait()
			e.wantAnswer("h", "/", "")
		})
	}
}

// TestTrafficFlowsToEveryKindOfTarget but https, which wants a certificate that
// the system trusts.
func TestTrafficFlowsToEveryKindOfTarget(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	h2c := testkit.NewApp("h2c")
	h2c.Handler = func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "h2c", r.ProtoMajor) }
	h2c.Server.Protocols = new(http.Protocols)
	h2c.Server.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start(t, testkit.Listen(t, "tcp", "127.0.0.1:0"))
	h2c.Target = "h2c://" + h2c.Target
	e.deploy(requestFor("app", h2c))
	e.wantAnswer("h", "/", "h2c2")

	e.deploy(requestFor("app", testkit.NewApp("unix").Start(t, testkit.Listen(t, "unix", testkit.SocketPath(t)))))
	e.wantAnswer("h", "/", "unix")

	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("there is no IPv6 here: ", err)
	}
	e.deploy(requestFor("app", testkit.NewApp("ipv6").Start(t, l)))
	e.wantAnswer("h", "/", "ipv6")
}
