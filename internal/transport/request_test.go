package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
)

// TestAmbiguousRequestsAreRefused before anything is sent, or a connection opened.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request){
		"a space in the method":      func(r *http.Request) { r.Method = "GET /x" },
		"no ASCII in the method":     func(r *http.Request) { r.Method = "GÉT" },
		"a space in the target":      func(r *http.Request) { r.RequestURI = "/x HTTP/1.1" },
		"a line end in the target":   func(r *http.Request) { r.RequestURI = "/x\r\nX: y" },
		"a tab in the target":        func(r *http.Request) { r.RequestURI = "/x\ty" },
		"no ASCII in the target":     func(r *http.Request) { r.RequestURI = "/\xfc" },
		"a control in the target":    func(r *http.Request) { r.RequestURI = "/\x7f" },
		"a line end in the host":     func(r *http.Request) { r.Host = "h\r\nX: y" },
		"a space in the host":        func(r *http.Request) { r.Host = "h h" },
		"a slash in the host":        func(r *http.Request) { r.Host = "h/x" },
		"an empty name":              func(r *http.Request) { r.Header = http.Header{"": {"x"}} },
		"a space in a name":          func(r *http.Request) { r.Header = http.Header{"X Y": {"x"}} },
		"a space behind a name":      func(r *http.Request) { r.Header = http.Header{"Transfer-Encoding ": {"chunked"}} },
		"a colon in a name":          func(r *http.Request) { r.Header = http.Header{"X:Y": {"x"}} },
		"a line end in a name":       func(r *http.Request) { r.Header = http.Header{"X\r\nY": {"x"}} },
		"a line end in a value":      func(r *http.Request) { r.Header = http.Header{"X": {"ok", "x\r\nY: y"}} },
		"a bare line feed":           func(r *http.Request) { r.Header = http.Header{"X": {"x\nY: y"}} },
		"a bare carriage return":     func(r *http.Request) { r.Header = http.Header{"X": {"x\rY: y"}} },
		"a null in a value":          func(r *http.Request) { r.Header = http.Header{"X": {"\x00"}} },
		"a folded value":             func(r *http.Request) { r.Header = http.Header{"X": {"x\r\n y"}} },
		"a forbidden trailer":        func(r *http.Request) { r.ContentLength, r.Trailer = -1, http.Header{"Content-Length": nil} },
		"a line end in a trailer":    func(r *http.Request) { r.ContentLength, r.Trailer = -1, http.Header{"X\r\nY": nil} },
		"an empty name of a trailer": func(r *http.Request) { r.ContentLength, r.Trailer = -1, http.Header{"": nil} },
		"a trailer that is a framer": func(r *http.Request) { r.ContentLength, r.Trailer = -1, http.Header{"Transfer-Encoding": nil} },
		"a space in a trailer":       func(r *http.Request) { r.ContentLength, r.Trailer = -1, http.Header{"X Y": nil} },
	} {
		body := &closeWatcher{Reader: strings.NewReader("body")}
		req := post(t, body)
		change(req)
		tr := new(Transport) // which would panic if it had to dial
		if _, err := tr.RoundTrip(req); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
		if !body.closed {
			t.Errorf("%s: the body is not closed", name)
		}
	}
}

// TestFramingIsSaidOnce and by us, whatever the header says about it.
func TestFramingIsSaidOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method string
		length int64
		body   io.Reader
		want   string
	}{
		{"GET", 0, nil, ""},
		{"HEAD", 0, nil, ""},
		{"DELETE", 0, nil, ""},
		{"POST", 0, nil, "Content-Length: 0"},
		{"PUT", 0, http.NoBody, "Content-Length: 0"},
		{"PATCH", 0, nil, "Content-Length: 0"},
		{"GET", 4, strings.NewReader("body"), "Content-Length: 4"},
		{"POST", 4, strings.NewReader("body"), "Content-Length: 4"},
		{"POST", -1, strings.NewReader("body"), "Transfer-Encoding: chunked"},
		{"POST", 0, strings.NewReader("body"), "Transfer-Encoding: chunked"},
	} {
		req := request(t, tt.method, tt.body)
		req.ContentLength = tt.length
		req.Header = http.Header{
			"Content-Length": {"7"}, "Transfer-Encoding": {"gzip, chunked"}, "Trailer": {"X"}, "Host": {"other"},
		}
		out, err := newOutgoing(req)
		if err != nil {
			t.Fatal(err)
		}
		want := tt.method + " /x HTTP/1.1\r\nHost: app.test\r\n"
		if tt.want != "" {
			want += tt.want + "\r\n"
		}
		if got := string(out.head); got != want+"\r\n" {
			t.Errorf("%s with a body of %d: %q", tt.method, tt.length, got)
		}
		out.release()
	}
}

// TestLargeHeadIsNotKept in the pool of buffers.
func TestLargeHeadIsNotKept(t *testing.T) {
	t.Parallel()
	out, err := newOutgoing(withField(get(t), "X", long(2*maxPooledHead)))
	if err != nil {
		t.Fatal(err)
	}
	lent := out.lent
	out.release()
	if cap(*lent) > maxPooledHead {
		t.Errorf("a buffer of %d bytes is kept", cap(*lent))
	}
}

// requestOf makes a request of what a fuzzer comes up with, in the form in which a
// server would hand it to us: the names of fields are canonical.
func requestOf(method, target, host, header, body string, length int64) *http.Request {
	req := &http.Request{
		Method: method, RequestURI: target, Host: host, URL: new(url.URL), Header: make(http.Header), ContentLength: length,
	}
	for line := range strings.SplitSeq(header, "\x01") {
		name, value, _ := strings.Cut(line, "\x02")
		if name != "" || value != "" {
			name = http.CanonicalHeaderKey(name)
			req.Header[name] = append(req.Header[name], value)
		}
	}
	if body != "" {
		req.Body = io.NopCloser(strings.NewReader(body))
	}
	return req
}

// FuzzRequest checks that what is written is read as that one request and nothing
// else, or is refused.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/", "h", "", "", int64(0))
	f.Add("", "/x?y", "h:80", "X\x02a\x01X\x02b\x01Content-Length\x025", "body", int64(4))
	f.Add("POST", "/x%2Fy//..?a;b=%zz", "[::1]:80", "Te\x02trailers\x01Connection\x02x", "body", int64(-1))
	f.Add("POST", "http://other/x", "", "X\x02 a \x01Y\x02\x01x-lower\x02\xff", "body", int64(2))
	f.Add("GET", "/x\r\nX: y", "h\r\n", "X\x02a\r\n\r\nGET / HTTP/1.1", "", int64(0))
	f.Add("GET", "/x y", "h h", "X \x02a", "", int64(0))
	f.Add("PRI", "*", "h", "Transfer-Encoding\x02chunked\x01Host\x02other\x01Trailer\x02X", "", int64(0))
	f.Fuzz(func(t *testing.T, method, target, host, header, body string, length int64) {
		if body == "" || length > int64(len(body)) {
			length = int64(len(body))
		}
		req := requestOf(method, target, host, header, body, length)
		out, err := newOutgoing(req)
		if err != nil {
			return
		}
		defer out.release()
		wire := bytes.Clone(out.head)
		wantBody := body
		switch {
		case out.length < 0:
			wantBody = body
			wire = append(wire, chunked(body)...)
		case body != "":
			wantBody = body[:out.length]
			wire = append(wire, wantBody...)
		}
		if control := strings.IndexFunc(method+target+host, func(r rune) bool { return r <= ' ' || r == 0x7f }); control >= 0 {
			t.Fatalf("a control character or a space is written: %q", wire)
		}
		const next = "GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
		r := bufio.NewReader(io.MultiReader(bytes.NewReader(wire), strings.NewReader(next)))
		got, err := http.ReadRequest(r)
		if err != nil {
			if unreadable(method, target) {
				return
			}
			t.Fatalf("%q cannot be read: %v", wire, err)
		}
		gotBody, err := io.ReadAll(got.Body)
		if err != nil || string(gotBody) != wantBody {
			t.Fatalf("%q has the body %q, %v, want %q", wire, gotBody, err, wantBody)
		}
		if method == "" {
			method = "GET"
		}
		if target == "" {
			target = "/"
		}
		if got.Method != method || got.RequestURI != target || got.Proto != "HTTP/1.1" {
			t.Fatalf("%q is read as %s %s", wire, got.Method, got.RequestURI)
		}
		if got.Host != host && got.URL.Host == "" {
			t.Fatalf("%q has the host %q", wire, got.Host)
		}
		wantHeader(t, req.Header, got.Header)
		if second, err := http.ReadRequest(r); err != nil || second.Host != "next" {
			t.Fatalf("%q is followed by %v, %v", wire, second, err)
		}
	})
}

// unreadable reports whether net/http refuses what may well be written.
func unreadable(method, target string) bool {
	if method == "CONNECT" {
		return true // has another form of target, which is no matter of ours
	}
	_, err := url.ParseRequestURI(target)
	return err != nil
}

func chunked(body string) []byte {
	var b bytes.Buffer
	up := &upload{
		c:   newConn(new(Transport), writeOnly{Writer: &b}),
		out: &outgoing{req: new(http.Request), body: strings.NewReader(body), length: -1},
	}
	if err := up.copyChunked(context.Background(), make([]byte, 17)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// wantHeader fails the test unless got has the fields of sent, less those that we
// say ourselves.
func wantHeader(t *testing.T, sent, got http.Header) {
	t.Helper()
	want := make(http.Header)
	for name, values := range sent {
		for _, value := range values {
			want[name] = append(want[name], strings.Trim(value, " \t"))
		}
	}
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Trailer"} {
		delete(want, name)
		delete(got, name)
	}
	if pragma := want["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && want["Cache-Control"] == nil {
		delete(got, "Cache-Control") // which net/http makes up
	}
	if !maps.EqualFunc(want, got, slices.Equal) {
		t.Fatalf("the header %q is read as %q", want, got)
	}
	for name := range got {
		if !httpguts.ValidHeaderFieldName(name) {
			t.Fatalf("the field %q is written", name)
		}
	}
}

// writeOnly is the half of a connection that an upload needs.
type writeOnly struct {
	io.Writer
	net.Conn
}

func (w writeOnly) Write(p []byte) (int, error)      { return w.Writer.Write(p) }
func (w writeOnly) SetWriteDeadline(time.Time) error { return nil }
