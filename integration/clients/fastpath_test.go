package clients

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// sample is a request that may be served in two ways.
type sample struct {
	name, method, target, body string
	// host is what is asked for; that of the site if empty.
	host   string
	header []field
}

var samples = []sample{
	{name: "plain"},
	{name: "query", target: "/a%2Fb//c?d;e=%zz"},
	{name: "HEAD", method: "HEAD"},
	{name: "POST", method: "POST", body: "hello"},
	{name: "DELETE with a body", method: "DELETE", body: "hello"},
	{name: "method of its own", method: "PURGE"},
	{name: "very long method", method: strings.Repeat("A", 33)},
	{name: "TRACE", method: "TRACE"},
	{name: "OPTIONS of the server", method: "OPTIONS", target: "*"},
	{name: "expectation", method: "POST", body: "hello", header: []field{{"Expect", "100-continue"}}},
	{name: "underscore", header: []field{{"Client_Id", "1"}, {"Client-Id", "2"}}},
	{name: "dot", header: []field{{"Client.Id", "1"}, {"Client-Id", "2"}}},
	{name: "underscore and dot", header: []field{{"A_B.C", "1"}}},
	{name: "forwarding", header: []field{{"X-Forwarded-For", "203.0.113.9"}, {"Forwarded", "for=203.0.113.9"}, {"X-Real-Ip", "203.0.113.9"}, {"X-Forwarded-Proto", "gopher"}}},
	{name: "twice the same", header: []field{{"X-Same", "1"}, {"X-Same", "2"}, {"Cookie", "a=b"}, {"Cookie", "c=d"}}},
	{name: "trailers wanted", header: []field{{"Te", "trailers"}}},
	{name: "host with a port", host: "{site}:8080"},
	{name: "host in capitals", host: "{SITE}"},
	{name: "host with a dot", host: "{site}."},
	{name: "host of dots", host: "..."},
	{name: "host of dots in brackets", host: "[..]:80"},
	{name: "host nobody has", host: "nobody." + domain},
	{name: "no such host", host: "a b"},
	{name: "challenge", target: "/.well-known/acme-challenge/token"},
	{name: "validation", target: "/.well-known/pki-validation/file.txt"},
	{name: "close to a challenge", target: "/.well-known/acme-challenges"},
	{name: "no content", target: "/204"},
	{name: "not modified", target: "/304"},
	{name: "hints", target: "/hints"},
	{name: "headers of the proxy's", target: "/headers"},
	{name: "trailers", target: "/trailers"},
	{name: "chunks", target: "/chunks"},
	{name: "no answer", method: "POST", target: "/silence"}, // which is not repeated
	{name: "broken off", target: "/broken"},
}

var sampleAnswers = map[string]string{
	"/204":      "HTTP/1.1 204 No Content\r\n\r\n",
	"/304":      "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
	"/hints":    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok("hinted"),
	"/headers":  "HTTP/1.1 200 OK\r\nServer: App\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nAlt-Svc: clear\r\nContent-Length: 0\r\n\r\n",
	"/trailers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
	"/chunks":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"/silence":  "",
	"/broken":   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
}

// TestFastPathChangesNothing makes each request twice, as the first of its connection and
// as the second. The second may go a shorter way through the proxy, though not over
// HTTP/3; whoever sends or gets it must not be able to tell. The proxy trusts somebody, so that
// Caddy is asked about each client.
func TestFastPathChangesNothing(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil, "--trusted-proxies=192.0.2.0/24")
	eachProtocol(t, func(t *testing.T, protocol string) {
		if protocol == h3 {
			t.Skip("there is one way")
		}
		var mu sync.Mutex
		var seen []string
		a := startRawApp(t, func(c *rawConn) {
			for {
				r, err := c.next()
				if err != nil {
					return
				}
				mu.Lock()
				seen = append(seen, r.describe())
				mu.Unlock()
				answer, known := sampleAnswers[r.path()]
				if !known {
					answer = ok("body " + r.body)
				}
				c.write(answer)
				if answer == "" || r.path() == "/broken" {
					return
				}
			}
		})
		x := newSite(t, s, a.addr)
		for _, s := range samples {
			ask := func(w wire) string {
				host := strings.NewReplacer("{site}", x.host, "{SITE}", strings.ToUpper(x.host)).Replace(s.host)
				if host != "" {
					w.setHost(host)
				}
				w.begin(cmp.Or(s.method, "GET"), cmp.Or(s.target, "/"), s.body != "", s.header...)
				if s.body != "" {
					w.send(s.body)
					w.end()
				}
				got := w.answer()
				mu.Lock()
				defer mu.Unlock()
				all := fmt.Sprintf("the app was sent %q\nthe client got %s", seen, got.describe())
				seen = nil
				return all
			}
			first, second := ask(x.dialNewWire(t, protocol)), ask(x.dialWire(t, protocol))
			if first != second {
				t.Errorf("%s: as the first request of its connection:\n%s\nas the second:\n%s", s.name, first, second)
			}
		}
	})
}

// describe returns all of a request but what is different in each.
func (r *rawRequest) describe() string {
	lines := slices.Clone(r.headers)
	lines = slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "X-Request-Id:") || strings.HasPrefix(line, "X-Request-Start:")
	})
	slices.Sort(lines)
	return fmt.Sprintf("%s %q %q %q", r.line, lines, r.body, r.trailers)
}

// describe returns all of an answer but what is different in each.
func (a wireAnswer) describe() string {
	if a.err != nil {
		return "an answer that breaks off" // and of which more or less may have been on its way
	}
	header := a.header.Clone()
	if d := header.Get("Date"); d != "" && !strings.Contains(d, "1970") {
		header.Set("Date", "now")
	}
	if header.Get("Content-Length") == fmt.Sprint(len(a.body)) {
		// An answer in chunks that is passed through stays so. Otherwise the server gives it a length, if it is
		// whole in time.
		header.Del("Content-Length")
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(header)) {
		lines = append(lines, fmt.Sprintf("%s: %q", http.CanonicalHeaderKey(name), header[name]))
	}
	return fmt.Sprintf("%d %v %q %q %v, last %v", a.status, a.informational, lines, a.body, a.trailer, a.last)
}
