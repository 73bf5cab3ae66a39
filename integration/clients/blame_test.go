package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// statuses returns what the access log has recorded for the site.
func (x *site) statuses(t *testing.T) (all []int) {
	t.Helper()
	for _, line := range x.logLines() {
		var entry struct {
			Msg     string
			Status  int
			Request struct{ Host string }
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "handled request" && strings.HasPrefix(entry.Request.Host, x.host) {
			all = append(all, entry.Status)
		}
	}
	return all
}

// bodyApp reads every body to its end. whole are the requests whose body came to one.
type bodyApp struct {
	*app
	mu    sync.Mutex
	whole []string
}

func startBodyApp(t *testing.T) *bodyApp {
	t.Helper()
	a := new(bodyApp)
	a.app = startApp(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.whole = append(a.whole, fmt.Sprintf("%s %s%s with %d bytes and %v", r.Method, r.Host, r.RequestURI, n, r.Header))
		a.mu.Unlock()
		fmt.Fprint(w, n)
	})
	return a
}

// wantBlameless checks that all of n requests are the client's fault in the log, that
// no target suffers for them, and that the app took none of them for a whole one.
func (a *bodyApp) wantBlameless(t *testing.T, x *site, n int) {
	t.Helper()
	waitFor(t, "the access log", func() bool { return len(x.statuses(t)) >= n })
	for _, status := range x.statuses(t) {
		if status < 400 || status > 499 {
			t.Errorf("the log says %d", status)
		}
	}
	x.wantUnharmed(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.whole) > 0 {
		t.Errorf("broken bodies were whole to the app: %q", a.whole)
	}
}

// Traps 31 and 61: a body that is no body is the client's fault.
func TestBrokenChunksAreTheClientsFault(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h1, h1TLS} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := startBodyApp(t)
			x := newSite(t, logged.Get(t), a.addr())
			bodies := []string{
				"ZZ\r\nhello\r\n0\r\n\r\n", "1_0\r\n", "-5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
				"\r\nhello\r\n0\r\n\r\n", "5 5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\r\nhelloworld\r\n0\r\n\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n",
				"5\r\nhello\r\nZZ\r\n\r\n", "5;" + strings.Repeat("x", 100_000) + "\r\nhello\r\n0\r\n\r\n",
			}
			for _, body := range bodies {
				w := x.dialH1(t, protocol)
				w.write("POST / HTTP/1.1\r\nHost: " + x.host + "\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
				if got := w.answer(); !got.refused(http.StatusBadRequest) {
					t.Errorf("%.40q: %s", body, got)
				}
			}
			a.wantBlameless(t, x, len(bodies))
		})
	}
}

// Trap 61: the same for a body that breaks off, which the client may do on purpose.
func TestTruncatedBodyIsTheClientsFault(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startBodyApp(t)
		x := newSite(t, logged.Get(t), a.addr())
		n := 0
		for _, header := range [][]field{{{"Content-Length", "100"}}, nil} {
			for _, how := range []func(wire){
				wire.abort,
				func(w wire) { // as if that had been all
					if h, ok := w.(*h1Wire); ok {
						h.Close()
					} else {
						w.end()
					}
				},
			} {
				if header == nil && n == 3 && (protocol == h2 || protocol == h3) {
					continue // without a length, an end is an end
				}
				w := x.dialWire(t, protocol)
				w.begin("POST", "/", true, header...)
				w.send("hello")
				n++
				// Otherwise a proxy may never hear of the request.
				waitFor(t, "the app to have it", func() bool { return a.requests.Load() == int64(n) })
				how(w)
			}
		}
		a.wantBlameless(t, x, n)
	})
}

// More than was announced is no better than less.
func TestOverlongBodyIsTheClientsFault(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h2, h3} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := startBodyApp(t)
			x := newSite(t, logged.Get(t), a.addr())
			w := x.dialWire(t, protocol)
			w.begin("POST", "/", true, field{"Content-Length", "3"})
			w.send("hello")
			w.end()
			if got := w.answer(); !got.refused(http.StatusBadRequest) {
				t.Errorf("%s", got)
			}
			// The app may have had all that was announced before more came.
			x.wantUnharmed(t)
			waitFor(t, "the access log", func() bool { return len(x.statuses(t)) > 0 })
			if got := x.statuses(t); got[0] >= 500 {
				t.Errorf("the log says %d", got)
			}
		})
	}
}

// Trap 61: HTTP/2 and HTTP/3 carry heads that HTTP/1.1 cannot. They end here.
func TestMalformedHeadsAreTheClientsFault(t *testing.T) {
	t.Parallel()
	head := func(method, path string, more ...field) []field {
		return append([]field{{":method", method}, {":scheme", "https"}, {":authority", ""}, {":path", path}}, more...)
	}
	heads := map[string][]field{
		"method":            head("GET?", "/"),
		"method, space":     head("GET /x HTTP/1.1\r\nX: ", "/"),
		"no method":         {{":scheme", "https"}, {":authority", ""}, {":path", "/"}},
		"empty method":      head("", "/"),
		"two methods":       append([]field{{":method", "GET"}}, head("GET", "/")...),
		"two paths":         append([]field{{":path", "/"}}, head("GET", "/")...),
		"line in path":      head("GET", "/ HTTP/1.1\r\nX: y\r\n\r\nGET /smuggled"),
		"space in path":     head("GET", "/a b"),
		"line in value":     head("GET", "/", field{"x", "a\r\nX-Smuggled: b"}),
		"bare CR in value":  head("GET", "/", field{"x", "a\rb"}),
		"bare LF in value":  head("GET", "/", field{"x", "a\nb"}),
		"NUL in value":      head("GET", "/", field{"x", "a\x00b"}),
		"space in name":     head("GET", "/", field{"a b", "c"}),
		"colon in name":     head("GET", "/", field{"a:b", "c"}),
		"line in name":      head("GET", "/", field{"a\r\nb", "c"}),
		"connection":        head("GET", "/", field{"connection", "close"}),
		"transfer-encoding": head("POST", "/", field{"transfer-encoding", "chunked"}),
		"two lengths":       head("POST", "/", field{"content-length", "1"}, field{"content-length", "2"}),
		"length, sign":      head("POST", "/", field{"content-length", "+5"}),
		"late pseudo":       append([]field{{":method", "GET"}, {"a", "b"}}, head("GET", "/")[1:]...),
		"unknown pseudo":    head("GET", "/", field{":status", "200"}),
		"te":                head("GET", "/", field{"te", "gzip, chunked"}),
		"line in authority": {{":method", "GET"}, {":scheme", "https"}, {":authority", "a\r\nX: b"}, {":path", "/"}},
	}
	for _, protocol := range []string{h2, h3} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := startApp(t, named("app"))
			x := newSite(t, plain.Get(t), a.addr())
			for name, fields := range heads {
				fields = append([]field(nil), fields...)
				for i, f := range fields {
					if f.name == ":authority" && f.value == "" {
						fields[i].value = x.host
					}
				}
				var got wireAnswer
				switch w := x.dialWire(t, protocol).(type) {
				case *h2Wire:
					w.headers(true, fields...)
					got = w.answer()
				case *h3Wire:
					w.headers(true, fields...)
					got = w.answer()
				}
				if !got.refused(http.StatusBadRequest) && !(strings.Contains(name, "authority") && got.status == http.StatusMisdirectedRequest) {
					t.Errorf("%s: %s", name, got)
				}
			}
			x.wantUnharmed(t)
			if n := a.requests.Load(); n > 0 {
				t.Errorf("the app was sent %d requests", n)
			}
		})
	}
}
