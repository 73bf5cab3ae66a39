package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/http1/corpus"
)

// statusOf is 0 for a head that is served.
func statusOf(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	refused, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("the error is %v", err)
	}
	return refused.Status
}

// TestWhatCanBeReadInTwoWaysIsRefused whatever parts it comes in.
func TestWhatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	all := corpus.All()
	if len(all) < 500 {
		t.Errorf("there are %d cases", len(all))
	}
	names := make(map[string]bool)
	for _, c := range all {
		if names[c.Name] {
			t.Errorf("two cases are %s", c.Name)
		}
		names[c.Name] = true
		var r Request
		size, err := r.Parse([]byte(c.Request))
		if got := statusOf(t, err); got != c.Status {
			t.Errorf("%s: %d (%v), want %d (%s)", c.Name, got, err, c.Status, c.Section)
			continue
		}
		for cut := range c.Request {
			_, early := r.Parse([]byte(c.Request[:cut]))
			switch {
			case errors.Is(early, ErrIncomplete):
			case early == nil && err == nil && cut >= size: // the content is cut
			case early == err && err != nil:
			default:
				t.Errorf("%s: %v after %d bytes, and %v after all", c.Name, early, cut, err)
			}
		}
	}
	t.Logf("%d cases", len(all))
}

// TestHeadIsReadAsItWasSent with the spelling and the order of the fields.
func TestHeadIsReadAsItWasSent(t *testing.T) {
	var r Request
	for _, tt := range []struct{ head, want string }{
		{"GET /a?b HTTP/1.1\r\nhOST: App.Test:80\r\nX-b:  c \r\nx-A:\r\n\r\n", "GET /a?b 1 App.Test:80 -1 [hOST=App.Test:80 X-b=c x-A=]"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET", "POST / 1 a 12 [Host=a Content-Length=12]"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", "POST / 1 a -1 [Host=a Transfer-Encoding=Chunked] chunked"},
		{"GET / HTTP/1.0\r\n\r\n", "GET / 0  -1 [] close"},
		{"GET / HTTP/1.0\r\nConnection: a, Keep-Alive\r\n\r\n", "GET / 0  -1 [Connection=a, Keep-Alive]"},
		{"GET / HTTP/1.1\r\nHost:\r\nConnection: a,CLOSE\r\n\r\n", "GET / 1  -1 [Host= Connection=a,CLOSE] close"},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / 1 a -1 [Host=a Connection=upgrade Upgrade=websocket]"},
		{"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n", "PUT / 1 a 0 [Host=a Expect=100-continue Content-Length=0]"},
		{"GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://b/a 1 a -1 [Host=a]"},
		{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * 1 a -1 [Host=a]"},
		{"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443 1 a:443 -1 [Host=a:443]"},
	} {
		size, err := r.Parse([]byte(tt.head))
		if err != nil || !strings.HasSuffix(tt.head[:size], "\r\n\r\n") {
			t.Errorf("%q: %d, %v", tt.head, size, err)
		}
		if got := describe(&r); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.head, got, tt.want)
		}
	}
}

func describe(r *Request) string {
	var fields []string
	for _, f := range r.Fields {
		fields = append(fields, string(f.Name)+"="+string(f.Value))
	}
	text := fmt.Sprintf("%s %s %d %s %d %v", r.Method, r.Target, r.Minor, r.Host, r.ContentLength, fields)
	for what, is := range map[string]bool{" chunked": r.Chunked, " close": r.Close} {
		if is {
			text += what
		}
	}
	return text
}

// TestParseAllocatesNothing once there is room for the fields.
func TestParseAllocatesNothing(t *testing.T) {
	var r Request
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Parse(browser); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRequest holds what is served against net/http, which must understand the same.
func FuzzRequest(f *testing.F) {
	for _, c := range corpus.All() {
		f.Add([]byte(c.Request))
	}
	f.Add(browser)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		size, err := r.Parse(b)
		if err != nil {
			return
		}
		if size > len(b) {
			t.Fatalf("%d of %d bytes", size, len(b))
		}
		for cut := range size {
			if _, err := r.Parse(b[:cut]); !errors.Is(err, ErrIncomplete) {
				t.Fatalf("%v after %d bytes of %q", err, cut, b[:size])
			}
		}
		if _, err := r.Parse(b[:size]); err != nil {
			t.Fatal(err)
		}
		b = bytes.TrimPrefix(b, []byte("\r\n")) // which net/http does not skip
		std, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(b), len(b)+16))
		if err != nil {
			if refusedByNetHTTP(&r) {
				return
			}
			t.Fatalf("net/http: %v: %q", err, b)
		}
		if std.Method != string(r.Method) || std.RequestURI != string(r.Target) || std.ProtoMinor != r.Minor {
			t.Errorf("%s %s 1.%d, and %s %s 1.%d: %q", r.Method, r.Target, r.Minor, std.Method, std.RequestURI, std.ProtoMinor, b)
		}
		length := max(r.ContentLength, 0)
		if chunked := len(std.TransferEncoding) > 0; chunked != r.Chunked || !chunked && std.ContentLength != length {
			t.Errorf("%d %t, and %d %q: %q", r.ContentLength, r.Chunked, std.ContentLength, std.TransferEncoding, b)
		}
		if r.Close != std.Close {
			t.Errorf("close: %t, and %t: %q", r.Close, std.Close, b)
		}
		if r.Target[0] == '/' && std.Host != string(r.Host) {
			t.Errorf("the host %q, and %q: %q", r.Host, std.Host, b)
		}
		for _, field := range r.Fields {
			name := http.CanonicalHeaderKey(string(field.Name))
			if name == "Host" || name == "Transfer-Encoding" || name == "Trailer" { // net/http takes these out
				continue
			}
			found := false
			for _, v := range std.Header[name] {
				found = found || v == string(field.Value)
			}
			if !found {
				t.Errorf("%s has %q, and %q: %q", name, field.Value, std.Header[name], b)
			}
		}
	})
}

// refusedByNetHTTP reports whether net/http refuses a request for another reason than its form.
func refusedByNetHTTP(r *Request) bool {
	for _, f := range r.Fields {
		if equalFold(f.Name, "trailer") {
			return true // it checks which fields are announced
		}
	}
	// It parses the target as a URL, and escapes have to be right there.
	_, err := http.NewRequest(http.MethodGet, "http://a"+string(r.Target), nil)
	return err != nil || r.Target[0] != '/'
}

// browser is a head as a browser sends it.
var browser = []byte("GET /articles/2026/11?page=2&order=date HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Connection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\r\n")

// BenchmarkRequest beside net/http.
func BenchmarkRequest(b *testing.B) {
	b.Run("http1", func(b *testing.B) {
		b.ReportAllocs()
		var r Request
		for b.Loop() {
			if _, err := r.Parse(browser); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("net/http", func(b *testing.B) {
		b.ReportAllocs()
		from := bytes.NewReader(browser)
		buffered := bufio.NewReader(from)
		for b.Loop() {
			_, _ = from.Seek(0, io.SeekStart)
			buffered.Reset(from)
			if _, err := http.ReadRequest(buffered); err != nil {
				b.Fatal(err)
			}
		}
	})
}
