package forward

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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
	// closeClient says that the app then closes the connection.
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

// addAnswer has the app answer, by one of the framings.
func (s *sample) addAnswer(rnd *rand.Rand) {
	pick := func(parts ...string) string { return parts[rnd.IntN(len(parts))] }
	if s.method != "HEAD" && !s.early && rnd.IntN(12) == 0 {
		s.answer = pick(ambiguousAnswers...)
		s.ambiguous, s.hangUp = true, true
		return
	}
	if s.method != "HEAD" && !s.early && rnd.IntN(24) == 0 {
		s.answer, s.hangUp = pick(oddAnswers...), true
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

// difference is one between our forwarder and the standard library's.
type difference struct {
	// because is why it is as it should be.
	because string
	applies func(s *sample, ours, theirs *passage) bool
	// allow removes the difference from both.
	allow func(ours, theirs *passage)
}

var differences = []difference{
	{
		"the fields of RFC 6455 keep their spelling",
		func(s *sample, _, _ *passage) bool { return strings.Contains(s.head, "\r\nSec-WebSocket-Key:") },
		func(ours, _ *passage) {
			if ours.app == nil {
				return
			}
			if values, ok := ours.app.fields[webSocketKey]; ok {
				delete(ours.app.fields, webSocketKey)
				ours.app.fields["Sec-Websocket-Key"] = values
			}
		},
	},
	{
		"what a middleware has set outlives an informational answer",
		func(s *sample, _, _ *passage) bool { return s.informs() },
		func(ours, theirs *passage) {
			for _, o := range []*passage{ours, theirs} {
				delete(o.client.header, "Alt-Svc")
				delete(o.client.header, "Server")
				for i, line := range o.client.informational {
					o.client.informational[i] = strings.NewReplacer("Alt-Svc:[front]", "", "Server:[front]", "", " ", "").Replace(line)
				}
			}
		},
	},
	{
		"HTTP/1.0 has no informational answers (RFC 9110, section 15.2)",
		func(s *sample, ours, _ *passage) bool {
			return s.informs() && strings.Contains(s.head, " HTTP/1.0\r\n") && len(ours.client.informational) == 0
		},
		func(_, theirs *passage) { theirs.client.informational = nil },
	},
	{
		"the app's Server takes the place of the proxy's, instead of standing beside it",
		func(s *sample, ours, _ *passage) bool { return strings.Contains(s.answer, "\r\nServer: app") },
		func(ours, theirs *passage) {
			if values := theirs.client.header["Server"]; len(values) > len(ours.client.header["Server"]) {
				theirs.client.header["Server"] = values[1:]
			}
		},
	},
	{
		"an answer without a length gets one if all of it is there before anything is flushed",
		func(s *sample, _, _ *passage) bool {
			return !s.answers("\r\nContent-Length:") || s.answers("\r\nTransfer-Encoding: chunked")
		},
		func(ours, theirs *passage) {
			for _, o := range []*passage{ours, theirs} {
				delete(o.client.header, "Content-Length")
				// With HTTP/1.0, it takes a length to keep the connection.
				if strings.Join(o.client.header["Connection"], "") == "keep-alive" {
					delete(o.client.header, "Connection")
					o.client.closes = true
				}
			}
		},
	},
	{
		"the type of an answer is for the app to say: net/http guesses one",
		func(s *sample, ours, _ *passage) bool {
			return !s.answers("\r\nContent-Type:") && ours.client.header["Content-Type"] == nil
		},
		func(_, theirs *passage) { delete(theirs.client.header, "Content-Type") },
	},
	{
		"a chunked request may have had a length as well, so its connection ends with it (RFC 9112, section 6.3)",
		func(s *sample, ours, _ *passage) bool {
			return strings.Contains(s.head, "\r\nTransfer-Encoding: chunked\r\n") && ours.client.closes
		},
		func(_, theirs *passage) { theirs.client.closes = true },
	},
	{
		"an answer without a body announces no trailers",
		func(s *sample, ours, _ *passage) bool { return s.bodiless() && ours.client.header["Trailer"] == nil },
		func(_, theirs *passage) { delete(theirs.client.header, "Trailer") },
	},
	{
		"an answer that can be read in two ways is refused (RFC 9112, section 11.2)",
		func(s *sample, ours, _ *passage) bool {
			return s.ambiguous && ours.client.status == http.StatusBadGateway
		},
		func(ours, theirs *passage) {
			theirs.failed, theirs.client = ours.failed, ours.client
		},
	},
	{
		"white space before a colon is removed (RFC 9112, section 5.1): net/http leaves out the field",
		func(s *sample, ours, _ *passage) bool { return strings.Contains(s.answer, "\r\nX : a\r\n") },
		func(ours, _ *passage) {
			if slices.Equal(ours.client.header["X"], []string{"a"}) {
				delete(ours.client.header, "X")
			}
		},
	},
	{
		"a path that begins with two slashes is kept as well",
		func(s *sample, _, _ *passage) bool { return strings.Contains(s.head, " //x|y?a;b ") },
		func(ours, theirs *passage) {
			if theirs.app != nil {
				theirs.app.line = strings.Replace(theirs.app.line, "//x%7Cy", "//x|y", 1)
			}
		},
	},
	{
		"a request target that is no path, or not ASCII, is refused",
		func(s *sample, ours, _ *passage) bool {
			return s.unforwardable && ours.client.status == http.StatusBadRequest
		},
		same,
	},
	{
		"a request without a Host gets none made up, such as the address of the target",
		func(s *sample, ours, theirs *passage) bool {
			return ours.app != nil && theirs.app != nil && strings.Join(ours.app.fields["Host"], "|") == ""
		},
		func(_, theirs *passage) { theirs.app.fields["Host"] = []string{""} },
	},
	{
		"every field that is repeated is passed on, where net/http has one User-Agent",
		func(s *sample, ours, theirs *passage) bool {
			return ours.app != nil && theirs.app != nil && len(ours.app.fields["User-Agent"]) > 1
		},
		func(ours, theirs *passage) { ours.app.fields["User-Agent"] = ours.app.fields["User-Agent"][:1] },
	},
	{
		"a client that closes its side in the middle of its body has gone",
		func(s *sample, ours, _ *passage) bool { return s.halfClose && ours.client.status == 499 },
		func(_, theirs *passage) {
			if theirs.client.status == http.StatusBadRequest {
				theirs.client.status = 499
			}
		},
	},
	{
		"what Connection names is dropped in any case: net/http forgets it if Connection says close as well, and we did if it asked for h2c",
		func(s *sample, _, _ *passage) bool {
			return strings.Contains(s.head+s.answer, "X-Hop\r\n") || strings.Contains(s.head, "X-Hop,")
		},
		func(ours, theirs *passage) {
			if ours.client.header["X-Hop"] == nil {
				delete(theirs.client.header, "X-Hop")
			}
			if ours.app != nil && theirs.app != nil {
				for _, name := range []string{"X-Hop", "X-Lower"} {
					if ours.app.fields[name] == nil {
						delete(theirs.app.fields, name)
					}
				}
			}
		},
	},
	{
		"a body that the app has answered without is not asked for any more, and the connection closed in so many words",
		func(s *sample, ours, _ *passage) bool { return s.early && ours.client.closes },
		func(ours, theirs *passage) {
			theirs.client.closes, theirs.app = true, ours.app
			ours.client.informational, theirs.client.informational = ours.client.answered(), theirs.client.answered()
		},
	},
	{
		"HTTP/1.0 has no way to tell that an answer without a length is torn, once its head is out",
		func(s *sample, ours, theirs *passage) bool {
			return s.torn && strings.Contains(s.head, " HTTP/1.0\r\n") && !s.answers("\r\nContent-Length:")
		},
		func(ours, theirs *passage) { theirs.client = ours.client },
	},
	{
		"a body is asked for once: net/http passes on the app's 100 and adds its own, unless it comes first",
		func(s *sample, ours, _ *passage) bool { return s.expects && ours.client.asked() == 1 },
		func(ours, theirs *passage) {
			for _, o := range []*passage{ours, theirs} {
				if o.client.asked() > 0 {
					o.client.informational = append(o.client.answered(), "100")
				}
			}
		},
	},
}

// asked returns how often the client was asked for its body.
func (d departure) asked() int { return len(d.informational) - len(d.answered()) }

// answered returns the other informational answers.
func (d departure) answered() (others []string) {
	for _, line := range d.informational {
		if !strings.HasPrefix(line, "100") {
			others = append(others, line)
		}
	}
	return others
}

// informs reports whether the app sends informational answers.
func (s *sample) informs() bool {
	return strings.HasPrefix(s.answer, "HTTP/1.1 1") && !strings.HasPrefix(s.answer, "HTTP/1.1 101") || s.expects
}

// answers reports whether the final answer of the app has a part in its header.
func (s *sample) answers(part string) bool {
	rest := s.answer
	for strings.HasPrefix(rest, "HTTP/1.1 1") && !strings.HasPrefix(rest, "HTTP/1.1 101") {
		_, rest, _ = strings.Cut(rest, "\r\n\r\n")
	}
	head, _, _ := strings.Cut(rest, "\r\n\r\n")
	return strings.Contains(strings.ToLower(head), strings.ToLower(part))
}

// bodiless reports whether the answer has no body, whatever its header says.
func (s *sample) bodiless() bool {
	for _, status := range []string{" 204", " 304"} {
		if s.answers("HTTP/1.1"+status) || s.answers("HTTP/1.0"+status) {
			return true
		}
	}
	return s.method == http.MethodHead
}

// same takes them to be the same altogether.
func same(ours, theirs *passage) { *theirs = *ours }

// departure is an answer as a client saw it.
type departure struct {
	informational []string
	status        int
	header        http.Header
	body          string
	trailer       http.Header
	// torn says that the answer did not come to its end, or did not come.
	torn bool
	// closes says that the connection ends with the answer.
	closes bool
	// echo is what came back over an upgraded connection.
	echo string
}
