package clients

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// malformed are answers that no client should have to make sense of. Where tolerated
// is set, what an answer means is clear, and other proxies take it: it passes, mended.
var malformed = []struct {
	name, answer string
	tolerated    bool
}{
	{"length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true},
	{"chunked and length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 20\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", false},
	{"two lengths in one", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!", false},
	{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", true},
	{"length, sign", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", false},
	{"length, negative", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", false},
	{"length, hex", "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", false},
	{"length, empty", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", false},
	{"length, words", "HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\nhello", false},
	{"length, huge", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello", false},
	{"xchunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
	{"chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
	{"chunked on two lines", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
	{"gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
	{"chunked to HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
	{"folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", true},
	{"folded length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello", true},
	{"folded first line", "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 5\r\n\r\nhello", false},
	{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", true},
	{"bare LF in a field", "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 5\r\n\r\nhello", true},
	{"bare CR in a field", "HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 5\r\n\r\nhello", false},
	{"NUL in a field", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 5\r\n\r\nhello", false},
	{"control character", "HTTP/1.1 200 OK\r\nX: a\x08b\r\nContent-Length: 5\r\n\r\nhello", false},
	{"blank folded line", "HTTP/1.1 200 OK\r\nX: a\r\n \r\nContent-Length: 5\r\n\r\nhello", false},
	{"no colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 5\r\n\r\nhello", false},
	{"no name", "HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 5\r\n\r\nhello", false},
	{"space before colon", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 5\r\n\r\nhello", true},
	{"space in a name", "HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 5\r\n\r\nhello", false},
	{"two digits", "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"no number", "HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"sign", "HTTP/1.1 +20 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"number too small", "HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"no space", "HTTP/1.1200 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"other protocol", "ICY 200 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"other version", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"long version", "HTTP/1.10 200 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"no status", "HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", false},
	{"no head", "hello", false},
	{"mail server", "220 mail.example ESMTP\r\n", false},
	{"TLS", "\x15\x03\x01\x00\x02\x02\x46", false},
	{"empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"no reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", true},
	{"LF in the reason", "HTTP/1.1 200 O\nK: x\r\nContent-Length: 5\r\n\r\nhello", true},
	{"NUL in the reason", "HTTP/1.1 200 O\x00K\r\nContent-Length: 5\r\n\r\nhello", false},
	{"unasked upgrade", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello", false},
	{"endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 12_000) + "Content-Length: 5\r\n\r\nhello", false},
	{"endless line", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 12<<20) + "\r\nContent-Length: 5\r\n\r\nhello", false},
	{"endless hints", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 20_000) + ok("hello"), false},
}

// poison is what no client may ever see.
const poison = "HTTP/1.1 200 OK\r\nX-Poison: yes\r\nContent-Length: 6\r\n\r\npoison"

// TestMalformedAnswerIsABadGateway: neither is it passed on, nor is the connection
// that it came on used again.
func TestMalformedAnswerIsABadGateway(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		var bad, fine atomic.Int64 // the last connections for each kind of answer
		var next atomic.Pointer[string]
		a := startRawApp(t, func(c *rawConn) {
			for {
				r, err := c.next()
				switch {
				case err != nil:
					return
				case r.path() == "/bad":
					bad.Store(c.number)
					go c.write(*next.Load() + poison)
				default:
					fine.Store(c.number)
					c.write(ok("fine"))
				}
			}
		})
		x := newSite(t, plain.Get(t), a.addr)
		c := x.client(t, protocol)
		for _, m := range malformed {
			next.Store(&m.answer)
			got, err := c.ask(c.request(t, http.MethodGet, "/bad", nil))
			if protocol == h3 && m.name == "endless hints" && err != nil {
				err = nil // to this client, a few are too many
				got.Response = &http.Response{StatusCode: http.StatusBadGateway}
			}
			passed := err == nil && got.StatusCode == http.StatusOK && got.body == "hello"
			refused := err == nil && got.StatusCode == http.StatusBadGateway
			if m.tolerated && !passed || !m.tolerated && !refused {
				t.Errorf("%s: %s", m.name, describe(got, err))
			}
			after, err := c.ask(c.request(t, http.MethodGet, "/fine", nil))
			if err != nil || after.body != "fine" {
				t.Errorf("%s: the request after it: %s", m.name, describe(after, err))
			}
			if fine.Load() == bad.Load() {
				t.Errorf("%s: its connection was used again", m.name)
			}
		}
		x.wantUnharmed(t)
	})
}

func describe(a answer, err error) string {
	if err != nil || a.Response == nil {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%s %.60q, headers %.200s", a.Status, a.body, fmt.Sprint(a.Header))
}
