package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// sample is one exchange, byte for byte: what a client sends, and what an app
// answers.
type sample struct {
	method string
	// head and body are the request. The body is sent at once, or when it has been
	// asked for if expects is set.
	head, body string
	expects    bool
	// halfClose says that the client then closes its side.
	halfClose bool

	answer string
	// early says that the app answers when it has the head of the request.
	early bool
	// hangUp says that the app then closes the connection.
	hangUp bool
	// echo says that the app then sends back what it gets.
	echo bool

	// torn says that this is in the middle of the answer.
	torn bool

	// ambiguous says that the answer can be read in two ways, unforwardable that
	// the request should not be passed on.
	ambiguous, unforwardable bool
}

func (s sample) String() string {
	short := strings.NewReplacer(strings.Repeat("a", 1000), "", strings.Repeat("a", 100), "").Replace
	return fmt.Sprintf("the client sends %q and %.100q (expects %v, closes its side %v); the app answers %.400q (early %v, hangs up %v)",
		short(s.head), s.body, s.expects, s.halfClose, short(s.answer), s.early, s.hangUp)
}

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
var unforwardables = []string{"*", "/\xc3\xbc", "/?q=\xfc", "http:x/y"}

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

// switchOrNot has the app answer to a request to switch protocols.
func (s *sample) switchOrNot(rnd *rand.Rand, protocol string) {
	switch rnd.IntN(4) {
	case 0:
		s.answer = "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno"
	case 1:
		s.answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: something-else\r\n\r\n"
		s.hangUp = true
	default:
		s.answer = "HTTP/1.1 101 Switching Protocols\r\nX-A: 1\r\nConnection: Upgrade\r\nX-A: 2\r\nUpgrade: " + protocol + "\r\n\r\n"
		s.echo = true
	}
}

// addBody gives the request a body, or none.
func (s *sample) addBody(rnd *rand.Rand, head *strings.Builder, proto string) {
	usual := s.method == "POST" || s.method == "PUT" || s.method == "PATCH"
	if !usual && rnd.IntN(8) > 0 || proto == "HTTP/1.0" && !usual {
		return
	}
	size := []int{0, 1, 100, 4096, 4097, 70_000, 300_000}[rnd.IntN(7)]
	body := strings.Repeat("a", size)
	if proto == "HTTP/1.0" || rnd.IntN(2) == 0 {
		fmt.Fprintf(head, "Content-Length: %d\r\n", size)
		s.body = body
		if size > 0 && rnd.IntN(12) == 0 {
			s.body, s.halfClose = body[:size/2], true
		}
	} else {
		head.WriteString("Transfer-Encoding: chunked\r\n")
		s.body = chunks(rnd, body)
		switch rnd.IntN(6) {
		case 0:
			head.WriteString("Trailer: X-Sum, x-more\r\n")
			s.body += "X-Sum: 1\r\nx-more: \xff\r\n"
		case 1:
			s.body += "X-Unannounced: 1\r\n"
		case 2:
			head.WriteString("Trailer: X-Sum\r\nTrailer: X-Never\r\n")
			s.body += "X-Sum: 1\r\nX-Sum: 2\r\n"
		}
		s.body += "\r\n"
		if rnd.IntN(12) == 0 {
			s.body, s.halfClose = "5\r\nhello\r\nZZ\r\n", true
		}
	}
	if proto == "HTTP/1.1" && size > 0 && !s.halfClose && rnd.IntN(6) == 0 {
		head.WriteString("Expect: 100-continue\r\n")
		s.expects = true
		s.early = rnd.IntN(3) == 0
	}
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

// addAnswer has the app answer, by one of the framings.
func (s *sample) addAnswer(rnd *rand.Rand) {
	pick := func(parts ...string) string { return parts[rnd.IntN(len(parts))] }
	if s.method != "HEAD" && !s.early && rnd.IntN(12) == 0 {
		s.answer = pick(ambiguousAnswers...)
		s.ambiguous, s.hangUp = true, true
		return
	}
	var b strings.Builder
	for range []int{0, 0, 0, 0, 0, 1, 2, 10}[rnd.IntN(8)] {
		b.WriteString(pick("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\nLink: <b>\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 199 Odd\r\nX-A: 1\r\n\r\n"))
	}
	status := pick("200 OK", "200 OK", "200", "201 Created", "204 No Content", "206 Partial Content", "301 Moved", "304 Not Modified", "401 Unauthorized",
		"404 Nowhere", "418 I'm a teapot", "429 Too Many", "500 Oh", "503 Busy", "599 Odd", "999 Odd")
	proto := "HTTP/1.1"
	if rnd.IntN(15) == 0 {
		proto = "HTTP/1.0"
	}
	b.WriteString(proto + " " + status + "\r\n")
	for range rnd.IntN(7) {
		b.WriteString(pick(answerFields...) + "\r\n")
	}
	bodiless := s.method == "HEAD" || status[:3] == "204" || status[:3] == "304"
	body := strings.Repeat("a", []int{0, 1, 100, 2049, 5000, 70_000, 400_000}[rnd.IntN(7)])
	framing := rnd.IntN(3)
	if proto == "HTTP/1.0" && framing == 1 {
		framing = 0
	}
	switch framing {
	case 0:
		if status[:3] != "204" || rnd.IntN(3) == 0 {
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
		}
	case 1:
		if status[:3] == "204" || status[:3] == "304" {
			break
		}
		b.WriteString("Transfer-Encoding: chunked\r\n")
		body = chunks(rnd, body) + pick("", "", "X-T: 1\r\nX-T: 2\r\n", "X-T: \xff\r\nx-u:\r\n") + "\r\n"
		if rnd.IntN(2) == 0 {
			b.WriteString("Trailer: X-T, X-V\r\n")
		}
	default:
		s.hangUp = !bodiless
	}
	if bodiless {
		body = ""
	} else if body != "" && framing < 2 && !s.early && rnd.IntN(12) == 0 {
		body, s.hangUp = body[:len(body)-1-rnd.IntN(min(len(body), 20))], true
		s.torn = true
	}
	if rnd.IntN(6) == 0 {
		b.WriteString("Connection: close\r\n")
		s.hangUp = true
	}
	s.answer = b.String() + "\r\n" + body
}

// ambiguousAnswers can be read in two ways, or are no answers.
var ambiguousAnswers = []string{
	"", "220 mail ESMTP\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
	"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
