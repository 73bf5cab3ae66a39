package clients

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recordingApp answers every request with its path, and remembers all of them and
// whatever else it got.
type recordingApp struct {
	*rawApp
	mu   sync.Mutex
	seen []string
}

func startRecordingApp(t *testing.T) *recordingApp {
	t.Helper()
	a := new(recordingApp)
	a.rawApp = startRawApp(t, func(c *rawConn) {
		for {
			r, err := c.next()
			if err != nil {
				if strings.HasPrefix(err.Error(), "ambiguous") {
					a.record(err.Error())
				}
				return
			}
			a.record(r.path())
			c.write(ok(r.path() + " " + r.body))
		}
	})
	return a
}

func (a *recordingApp) record(s string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, s)
}

// take returns what was seen since the last call.
func (a *recordingApp) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// verdict is what may become of a request.
type verdict int

const (
	refused verdict = iota
	// lastOne may be served instead, by its chunks, if the connection ends with it
	// (RFC 9112, section 6.3).
	lastOne
	// mended may also be taken for what it most likely is, as long as it is passed on
	// in a form without doubt.
	mended
)

// attack is a request whose framing or form is in doubt. The head lacks its end.
type attack struct {
	name, head, body string
	verdict
}

func attacksOn(host string) []attack {
	hidden := "GET /smuggled HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	const chunk5 = "5\r\nhello\r\n0\r\n\r\n"
	return []attack{
		{"length and chunked", fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked", len("0\r\n\r\n"+hidden)), "0\r\n\r\n" + hidden, lastOne},
		{"chunked and length", "Transfer-Encoding: chunked\r\nContent-Length: 4", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden), lastOne},
		{"chunked and length 0", "Transfer-Encoding: chunked\r\nContent-Length: 0", chunk5, lastOne},
		{"two lengths", fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d", len(hidden)), hidden, refused},
		{"two lengths, swapped", fmt.Sprintf("Content-Length: %d\r\nContent-Length: 0", len(hidden)), hidden, refused},
		{"two lengths in one", fmt.Sprintf("Content-Length: 0, %d", len(hidden)), hidden, refused},
		{"the same length twice", "Content-Length: 5\r\nContent-Length: 5", "hello", mended},
		{"length, negative", "Content-Length: -1", hidden, refused},
		{"length, sign", "Content-Length: +5", "hello", refused},
		{"length, hex", "Content-Length: 0x5", "hello", refused},
		{"length, underscore", "Content-Length: 0_5", "hello", refused},
		{"length, empty", "Content-Length:", hidden, refused},
		{"length, words", "Content-Length: 5 5", "hello", refused},
		{"length, form feed", "Content-Length: 5\x0c", "hello", refused},
		{"length, huge", "Content-Length: 18446744073709551621", "hello", refused},
		{"length, other digits", "Content-Length: \u0665", "hello", refused},
		{"length, leading zeros", "Content-Length: 0005", "hello", mended},
		{"xchunked", "Transfer-Encoding: xchunked", chunk5, refused},
		{"identity", "Transfer-Encoding: identity", hidden, refused},
		{"chunked twice", "Transfer-Encoding: chunked, chunked", chunk5, refused},
		{"chunked on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunk5, refused},
		{"chunked, not last", "Transfer-Encoding: chunked, identity", chunk5, refused},
		{"identity, chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", chunk5, refused},
		{"chunked, vertical tab", "Transfer-Encoding: \x0bchunked", chunk5, refused},
		{"chunked, quoted", "Transfer-Encoding: \"chunked\"", chunk5, refused},
		{"chunked, empty", "Transfer-Encoding:", hidden, refused},
		{"chunked, capitals", "Transfer-Encoding: CHUNKED", chunk5, mended},
		{"space before colon", "Transfer-Encoding : chunked", chunk5, refused},
		{"tab before colon", "Content-Length\t: 5", "hello", refused},
		{"space before name", "X: y\r\nX : y", hidden, refused},
		{"no colon", "Content-Length 5", "hello", refused},
		{"no name", ": 5", hidden, refused},
		{"NUL in a value", "X: a\x00b", "", refused},
		{"NUL in a name", "X\x00: a", "", refused},
		{"CR in a value", "X: a\rTransfer-Encoding: chunked", chunk5, refused},
		{"CR in front of a name", "\rTransfer-Encoding: chunked", chunk5, refused},
		// RFC 9112, sections 5.2 and 2.2: may be mended.
		{"folded line", "X: a\r\n b", "", mended},
		{"folded chunked", "Transfer-Encoding:\r\n chunked", chunk5, mended},
		{"folded chunked, hiding", "X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5", "hello", mended},
		{"bare LF", "X: a\nY: b", "", mended},
		{"bare LF, chunked", "X: a\nTransfer-Encoding: chunked", chunk5, mended},
		{"chunk size, bare LF", "Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n", mended},
		{"chunk extension, bare LF", "Transfer-Encoding: chunked", "0;a\nb\r\n\r\n" + hidden, refused},
		{"chunk end, bare LF", "Transfer-Encoding: chunked", "5\r\nhello\n0\r\n\r\n", mended},
		{"chunk extension", "Transfer-Encoding: chunked", "5;a=\"b\"\r\nhello\r\n0\r\n\r\n", mended},
		{"chunk extension, overlong", "Transfer-Encoding: chunked", "5;" + strings.Repeat("x", 100_000) + "\r\nhello\r\n0\r\n\r\n", refused},
		{"many chunk extensions", "Transfer-Encoding: chunked", strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\nx\r\n", 200) + "0\r\n\r\n", refused},
		{"framing in trailers", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nContent-Length: 50\r\nHost: other\r\nTransfer-Encoding: chunked\r\n\r\n", mended},
		{"two hosts", "Host: other", "", refused},
		{"framing is hop by hop", "Connection: Content-Length, Host\r\nContent-Length: 5", "hello", mended},
		{"chunks are hop by hop", "Connection: Transfer-Encoding, X-Forwarded-For\r\nTransfer-Encoding: chunked", chunk5, mended},
	}
}

// TestSmuggledRequestIsNeverSeen sends what two readers might read in two ways. It is
// refused, or passed on in a way that nobody can misread, and never becomes two
// requests.
func TestSmuggledRequestIsNeverSeen(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h1, h1TLS} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := startRecordingApp(t)
			x := newSite(t, plain.Get(t), a.addr)
			for _, attack := range attacksOn(x.host) {
				first := x.attack(t, protocol, "POST /attack HTTP/1.1\r\nHost: "+x.host+"\r\n"+attack.head+"\r\n\r\n"+attack.body)
				seen := a.take()
				whole := []string{"/attack", "/last"}
				switch {
				case errors.Is(first.err, os.ErrDeadlineExceeded):
					t.Errorf("%s: no answer, and the app was sent %q", attack.name, seen)
				case slices.Contains(seen, "/smuggled"):
					t.Errorf("%s: the app was sent %q", attack.name, seen)
				case slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "ambiguous: ") }):
					t.Errorf("%s: the app was sent %q", attack.name, seen)
				case attack.verdict == mended && first.status == http.StatusOK && slices.Equal(seen, whole):
				case attack.verdict != refused && first.status == http.StatusOK && slices.Equal(seen, whole[:1]):
				case first.status != 0 && (first.status < 400 || first.status > 499) && first.status != http.StatusNotImplemented:
					t.Errorf("%s: not refused: %s, and the app was sent %q", attack.name, first, seen)
				case slices.Contains(seen, "/last"):
					t.Errorf("%s: the connection was used again: %s, and the app was sent %q", attack.name, first, seen)
				}
			}
			x.wantUnharmed(t)
		})
	}
}

// attack sends bytes, with an ordinary request behind them, and returns the first
// answer when the connection has ended.
func (x *site) attack(t *testing.T, protocol, bytes string) wireAnswer {
	t.Helper()
	w := x.dialWire(t, protocol).(*h1Wire)
	defer w.Close()
	must(t, w.SetDeadline(time.Now().Add(5*time.Second)))
	go w.write(bytes + "GET /last HTTP/1.1\r\nHost: " + x.host + "\r\nConnection: close\r\n\r\n")
	first := w.answer()
	for last := first; last.err == nil; {
		last = w.answer()
	}
	return first
}

// Malformed request lines are refused, too.
func TestMalformedRequestLineIsRefused(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h1, h1TLS} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := startRecordingApp(t)
			x := newSite(t, plain.Get(t), a.addr)
			for _, line := range []string{
				"GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET\t/ HTTP/1.1", "GET /a b HTTP/1.1", "GET / HTTP/1.1 x", " GET / HTTP/1.1", "GET /", "GET",
				"G@T / HTTP/1.1", "GET? / HTTP/1.1", "GET / HTTP/1.10", "GET / HTTP/2.0", "GET / HTTP/3.0", "GET / http/1.1", "GET / HTTP/01.1", "GET / HTTP/1.1x",
				"GET / HTTP 1.1", "GET /\x00 HTTP/1.1", "GET /\r HTTP/1.1", "GET /x\tHTTP/1.1", "\x16\x03\x01\x02\x00\x01\x00\x01",
			} {
				first := x.attack(t, protocol, line+"\r\nHost: "+x.host+"\r\n\r\n")
				if seen := a.take(); !first.refused(http.StatusBadRequest) && first.status != http.StatusHTTPVersionNotSupported && first.status != http.StatusNotImplemented || len(seen) > 0 {
					t.Errorf("%q: %s, and the app was sent %q", line, first, seen)
				}
			}
		})
	}
}
