package forward

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// fields are header fields of requests.
var fields = []string{
	"User-Agent: test/1.0", "Accept: */*", "Accept-Encoding: gzip, br", "accept-language: de;q=0.9, en", "X-Empty:", "X-Odd: \xff\xfe\x80",
	"X-Tab: a\tb", "X-Spaces: \t a  b \t", "x-lower: a", "X-UPPER: a", "X!#$%&'*+-.^_`|~9: a", "Cookie: a=b; c=\"d e\"", "Cookie: e=f",
	"Authorization: Basic Zm9v", "Range: bytes=0-9", "If-None-Match: \"a\", W/\"b\"", "Via: 1.0 before", "Max-Forwards: 3", "TE: trailers",
	"TE: gzip, trailers;q=0.5", "TE: deflate", "Connection: keep-alive", "Connection: X-Hop, x-lower", "Connection: close, X-Hop", "X-Hop: a",
	"Keep-Alive: timeout=9", "Proxy-Authorization: Basic Zm9v", "Proxy-Connection: keep-alive", "Upgrade: h2c", "Upgrade: websocket",
	"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
	"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /x",
	"X-Forwarded-Server: a", "X-Forwarded-Ssl: on", "X-Forwarded-Scheme: https", "Forwarded: for=6.6.6.6", "X-Real-Ip: 6.6.6.6",
	"X-Request-Id: given", "X-Request-Start: t=1", "Idempotency-Key: k1", "X-Idempotency-Key: k2", "Date: Mon, 01 Jan 2024 00:00:00 GMT",
	"Content-Type: text/plain; charset=utf-8", "Content-Encoding: gzip", "Origin: null", "Referer: http://h/ü", "X-A: 1", "X-A: 2", "x-a: 3",
	"Pragma: no-cache", "Cache-Control: max-age=0", "X-Long: " + strings.Repeat("a", 5000), "Trailer: X-Unused", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
}

// targets are request targets.
var targets = []string{
	"/", "/x", "//x", "/x//y/", "/x%2Fy", "/x%2fy%5C", "/%7Ex", "/a/../b", "/a/./b", "/b%C3%BCcher", "/;a=b,c:d@e!$&'()*+", "/a|b", "/{id}", "/a%2Fb|c",
	"/<x>^`\\\"", "/?", "/x?a;b", "/x?a=%zz", "/x?a;b=%zz&c=d;e", "/x?%", "/x?a=b+c%20d&&&==", "/x?q=http://x/?y", "/x?" + strings.Repeat("a", 3000), "//x|y?a;b",
	"http://h.example/abs?x", "http://h.example", "/x?[]{}|\\^`<>\"'", "/%00", "/%0d%0aX:y", "/x?%0d%0aX:y",
}

// unforwardables are request targets that are refused.
var unforwardables = []string{"*", "/\xc3\xbc", "/?q=\xfc", "http:x/y", "/a#b"}

// chunks puts a body in chunks of odd sizes.
func chunks(rnd *rand.Rand, body string) string {
	var b strings.Builder
	for body != "" {
		n := min(1+rnd.IntN(1+rnd.IntN(9000)), len(body))
		fmt.Fprintf(&b, []string{"%x\r\n", "%X\r\n", "00%x\r\n", "%x;a=\"b c\"\r\n", "%x; a\r\n"}[rnd.IntN(5)], n)
		b.WriteString(body[:n] + "\r\n")
		body = body[n:]
	}
	return b.String() + "0\r\n"
}

// newSample makes a sample up.
func newSample(rnd *rand.Rand, i int) sample {
	pick := func(parts ...string) string { return parts[rnd.IntN(len(parts))] }
	s := sample{method: pick("GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH", "purge!")}
	target := pick(targets...)
	if rnd.IntN(40) == 0 {
		target, s.unforwardable = pick(unforwardables...), true
	}
	proto := "HTTP/1.1"
	if rnd.IntN(15) == 0 {
		proto = "HTTP/1.0"
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s %s\r\nX-Sample: %d\r\n", s.method, target, proto, i)
	if proto == "HTTP/1.1" || rnd.IntN(2) == 0 {
		head.WriteString(pick("Host: h.example\r\n", "Host: h.example:8080\r\n", "host: H.Example\r\n", "Host: [::1]:80\r\n"))
	}
	for range rnd.IntN(8) {
		head.WriteString(pick(fields...) + "\r\n")
	}
	if upgrade := s.method == "GET" && proto == "HTTP/1.1" && rnd.IntN(10) == 0; upgrade {
		protocol := pick("websocket", "WebSocket", "echo", "x/1, y/2")
		fmt.Fprintf(&head, "Connection: Upgrade\r\nUpgrade: %s\r\n", protocol)
		s.head = head.String() + "\r\n"
		s.switchOrNot(rnd, protocol)
		return s
	}
	s.addBody(rnd, &head, proto)
	s.head = head.String() + "\r\n"
	s.addAnswer(rnd)
	return s
}

// answerFields are header fields of answers.
var answerFields = []string{
	"Content-Type: text/html; charset=utf-8", "Content-Type: application/octet-stream", "Content-Type: application/json", "Server: app/1",
	"Date: Mon, 01 Jan 2024 00:00:00 GMT", "Set-Cookie: a=b; Path=/", "Set-Cookie: c=d; HttpOnly", "set-cookie: e=\"f,g\"", "X-Empty:", "X-Odd: \xff\xfe",
	"X-Tab: a\tb", "x-lower: a", "Connection: X-Hop", "X-Hop: a", "Keep-Alive: timeout=100", "Proxy-Authenticate: Basic", "Proxy-Connection: x", "TE: x",
	"Upgrade: h2c", "ETag: \"a\"", "Cache-Control: no-store", "Pragma: no-cache", "Content-Encoding: gzip", "Vary: A", "Vary: B", "Link: <a>; rel=preload",
	"Location: http://other/%zz", "X-Accel-Buffering: no", "WWW-Authenticate: Basic realm=\"a, b\"", "X-Request-Id: theirs", "Alt-Svc: h3=\":443\"",
	"Content-Range: bytes 0-9/100", "Strict-Transport-Security: max-age=1", "X-Long: " + strings.Repeat("a", 20_000), "Expires: 0", "Trailer: X-Unused",
}

// ambiguousAnswers can be read in two ways, or are no answers.
var ambiguousAnswers = []string{
	"", "220 mail ESMTP\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",

	"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}

// oddAnswers are not as they should be, and mean one thing.
var oddAnswers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 2\r\n\nok",
	"HTTP/1.1 200 OK\r\nX: a \r\n\t b\r\n c\r\nContent-Length:\r\n 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
}
