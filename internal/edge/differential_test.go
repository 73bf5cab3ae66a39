package edge

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// report is a handler that answers with all that it has got.
func report(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	body, err := io.ReadAll(r.Body)
	u := *r.URL
	u.User = nil // a pointer
	fmt.Fprintf(&b, "%s %q %s %d.%d host=%q url=%#v close=%v length=%d coding=%v\n", r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, u, r.Close, r.ContentLength, r.TransferEncoding)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, "%s: %q\n", name, r.Header[name])
	}
	fmt.Fprintf(&b, "body=%q trailer=%v failed=%v", body, r.Trailer, err != nil)
	if r.Context().Value(http.ServerContextKey) == nil || r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() == "" || r.RemoteAddr == "" {
		fmt.Fprint(&b, " without its context")
	}
	_, _ = w.Write(b.Bytes())
}

// handlers are what the servers are compared with.
var handlers = map[string]http.HandlerFunc{
	"report":  report,
	"nothing": func(http.ResponseWriter, *http.Request) {},
	"long": func(w http.ResponseWriter, _ *http.Request) {
		for i := range 500 {
			fmt.Fprintf(w, "line %d\n", i)
		}
	},
	"large": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("large "), 20000)) },
	"length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Type", "a/b")
		_, _ = io.WriteString(w, "12")
		_, _ = io.WriteString(w, "345")
	},
	"short": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "12")
	},
	"over": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		_, err := io.WriteString(w, "12345")
		if err != http.ErrContentLength {
			panic("no error")
		}
		_, _ = io.WriteString(w, "12")
	},
	"read from": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("copy ", 10000))})
	},
	"read from with a length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "50000")
		_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("copy ", 10000))})
	},
	"flushed": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "more")
	},
	"flushed first": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "more")
	},
	"trailers": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "A, Content-Length")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("A", "a")
		w.Header().Set(http.TrailerPrefix+"B", "b")
	},
	"late trailers": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"B", "b")
	},
	"hints": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</b>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "body")
	},
	"close": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "body")
	},
	"no content": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "a/b")
		w.WriteHeader(http.StatusNoContent)
		if _, err := io.WriteString(w, "body"); err != http.ErrBodyNotAllowed {
			panic("no error")
		}
	},
	"not modified": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "a/b")
		w.Header().Set("Content-Length", "7")
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
	},
	"odd status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799) },
	"no type": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>")
	},
	"encoded": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "x")
		_, _ = io.WriteString(w, "<html>")
	},
	"own date": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("X", "a\r\nY: b ")
		w.Header()["bad name"] = []string{"x"}
		_, _ = io.WriteString(w, "x")
	},
	"coding": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		_, _ = io.WriteString(w, "x")
	},
	"identity": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "identity")
		_, _ = io.WriteString(w, "x")
	},
	"changed too late": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "a")
		w.WriteHeader(200)
		w.Header().Set("A", "b")
		w.Header().Set("C", "c")
		_, _ = io.WriteString(w, "x")
	},
	"aborted": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		panic(http.ErrAbortHandler)
	},
	"aborted after a flush": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	},
	"aborted while it writes": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(make([]byte, 50000))
		panic(http.ErrAbortHandler)
	},
	"full duplex": func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	},
	"closed body": func(w http.ResponseWriter, r *http.Request) {
		_ = r.Body.Close()
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err == http.ErrBodyReadAfterClose || err == io.EOF)
	},
	"half a body": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 2))
		_, _ = io.WriteString(w, "x")
	},
}

// requests are what clients send.
var requests = []string{
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nTrailer: A, b\r\n\r\n5\r\nabcde\r\n3\r\nfgh\r\n0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde",
	"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: x\r\nExpect: something\r\nContent-Length: 5\r\n\r\nabcde",
	"PUT / HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("b", 300000),
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("b", 100000),
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde",
}

// heads are more of them, which are only reported.
var heads = []string{
	"GET /a%20b/%2f?q=%zz&x HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET //a//b/../c;d=e!$&'()*+,:@ HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /? HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /?? HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?b?c HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a:b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a|b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET http://other/path?q HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET http://other HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET http://other:80/ HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET a/b HTTP/1.1\r\nHost: x\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
	"foo!#$ / HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
	"GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nhost: x\r\nx-ABC_d.e: 1\r\nX-Abc_D.e: 2\r\nA:\r\nB: \t b \t\r\nC: \xc3\xa4\r\nd: a\tb\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\nCache-Control: x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nTrailer: A\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n0\r\n\r\n",
	"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
	"GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
	"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nA\x01: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
}

// stricter are requests that the edge refuses and net/http serves, with the section of RFC 9112
// that allows that or asks for it.
var stricter = map[string]string{
	"GET http://user:pass@other:80/ HTTP/1.1\r\nHost: x\r\n\r\n":                                     "RFC 9110, 4.2.4: a name and a password deceive about the host",
	"GET / HTTP/1.1\r\nHost: x:y\r\n\r\n":                                                            "3.2: the port of a host is a number",
	"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n":                                                           "3.2: what has brackets is an address of IPv6",
	"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n":                                                          "RFC 9110, 9.3.6: CONNECT has no default port",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked, chunked\r\n\r\n":                "6.1: chunked is applied once, and last",
	"CONNECT /a HTTP/1.1\r\nHost: a:80\r\n\r\n":                                                      "3.2.3: CONNECT has an authority as its target, and nothing else",
	"GET * HTTP/1.1\r\nHost: x\r\n\r\n":                                                              "3.2.4: the asterisk is for OPTIONS alone",
	"GET /a%20b/%2f?q=%zz&x#y HTTP/1.1\r\nHost: x\r\n\r\n":                                           "3.2: a target has no fragment, and servers differ in whether it is part of the path",
	"GET mailto:a HTTP/1.1\r\nHost: x\r\n\r\n":                                                       "3.2.2: it is the target of another protocol",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc":                "6.3: it may be refused, and no client sends it",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "6.3: it may be refused, and who goes by the length sees another request",
	"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                      "6.1: its framing is faulty",
	"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n":                                                "5.2: folded lines are refused",
	"GET / HTTP/1.1\nHost: x\n\n":                                                                    "2.2: a bare LF may be taken for the end of a line, and not all do so",
}

// conversation is what a client gets for what it sends.
// Requests in it are told apart by marks, which are not sent. With half, the client ends its side
// then.
func conversation(s *serving, sent string, half bool) string {
	c := s.dial()
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c.Conn, strings.ReplaceAll(sent, mark, ""))
		if half {
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}
	}()
	var b strings.Builder
	for method := range methodsOf(sent) {
		for {
			resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
			if err != nil {
				fmt.Fprintf(&b, "no answer\n")
				return b.String()
			}
			if d := resp.Header.Get("Date"); d != "" {
				if _, err := http.ParseTime(d); err != nil {
					fmt.Fprintln(&b, "bad date")
				}
				resp.Header.Set("Date", "a date")
			}
			// Where a refusal ends is told by the end, and its words are the server's own.
			if resp.StatusCode >= 400 && resp.StatusCode != 417 && resp.StatusCode < 600 {
				fmt.Fprintf(&b, "refused with %d, close %v\n", resp.StatusCode, resp.Close)
				return b.String()
			}
			body, err := io.ReadAll(resp.Body)
			if len(body) > 10000 {
				body = fmt.Appendf(nil, "%d bytes, %x", len(body), body[:10])
			}
			fmt.Fprintf(&b, "%s %s %v length %d, coding %v, close %v, trailer %v, failed %v\n%s\n", resp.Proto, resp.Status, resp.Header, resp.ContentLength, resp.TransferEncoding, resp.Close, resp.Trailer, err != nil, body)
			if err != nil || resp.Close {
				return b.String()
			}
			if resp.StatusCode >= 200 {
				break
			}
		}
	}
	return b.String()
}

// mark stands between requests.
const mark = "\x00"

// methodsOf returns the methods of requests.
func methodsOf(sent string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, part := range strings.Split(sent, mark) {
			method, _, _ := strings.Cut(part, " ")
			if !yield(method) {
				return
			}
		}
	}
}

// bothServe starts both servers with a handler.
func bothServe(t *testing.T, h http.HandlerFunc) (ours, std *serving) {
	short := func(std *http.Server) { std.IdleTimeout = 2 * time.Second }
	return serve(t, true, h, short), serve(t, false, h, short)
}

func TestEdgeAndStandardServerAgree(t *testing.T) {
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, std := bothServe(t, h)
			sent := requests
			if name == "report" {
				sent = append(slices.Clone(requests), heads...)
			}
			for _, request := range sent {
				// With another one behind it, it shows what becomes of the connection.
				for _, all := range []string{request, request + mark + "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"} {
					got, want := conversation(ours, all, false), conversation(std, all, false)
					if got != want {
						t.Errorf("for %.200q\nthe edge answers  %.600s\nand net/http      %.600s", all, got, want)
					}
				}
			}
		})
	}
}

func TestEdgeIsStricter(t *testing.T) {
	ours := serve(t, true, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it is served") }))
	for request, reason := range stricter {
		if got := conversation(ours, request, false); got != "refused with 400, close true\n" {
			t.Errorf("%q (%s) is answered %s", request, reason, got)
		}
	}
}

// An abort at any byte is the same to the handler. The edge says that the connection ends, where
// net/http leaves the client to find out.
func TestAbortsAreTheSameToHandlers(t *testing.T) {
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n",
	} {
		ours, std := bothServe(t, report)
		for n := range len(request) {
			got, want := conversation(ours, request[:n], true), conversation(std, request[:n], true)
			got, want = strings.ReplaceAll(got, "close true", "close false"), strings.ReplaceAll(want, "close true", "close false")
			if got != want {
				t.Errorf("of %q, the edge makes  %s\nand net/http  %s", request[:n], got, want)
			}
		}
	}
}
