package proxy

import (
	"net/http"
	"strings"
)

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
		func(s *sample, _, _ *passage) bool { return !s.answers("\r\nContent-Length:") },
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
