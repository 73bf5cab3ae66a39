package transport

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestAmbiguousAnswersAreRefused and the connection closed, while the odd but plain
// are taken.
func TestAmbiguousAnswersAreRefused(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		const line, chunks = "HTTP/1.1 200 OK\r\n", "2\r\nok\r\n0\r\n\r\n"
		for answer, refused := range map[string]bool{
			// Two framings, or none.
			line + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks:                      false,
			line + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n" + chunks:                      false,
			line + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok":                            true,
			line + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok":                                      false,
			line + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok":                                      true,
			line + "Content-Length: 2\r\ncontent-length: 2\r\n\r\nok":                                      false,
			line + "Content-Length: 2\r\nContent-Length: 02\r\n\r\nok":                                     true,
			line + "Content-Length: 2\r\nContent-Length: \r\n\r\nok":                                       true,
			line + "Content-Length: 2\r\nContent-Length : 3\r\n\r\nok":                                     true,
			line + "Content-Length: 2\r\n 0\r\n\r\nok":                                                     true,
			line + "Content-Length:\r\n 2\r\n\r\nok":                                                       false,
			line + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n" + chunks: true,
			line + "Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n" + chunks:                      true,
			line + "Transfer-Encoding : chunked\r\n\r\n" + chunks:                                          false,
			line + "Content-Length: 2, 2\r\n\r\nok":                                                        true,
			line + "Content-Length: +2\r\n\r\nok":                                                          true,
			line + "Content-Length: -2\r\n\r\nok":                                                          true,
			line + "Content-Length: 0x2\r\n\r\nok":                                                         true,
			line + "Content-Length: 2a\r\n\r\nok":                                                          true,
			line + "Content-Length: 2 0\r\n\r\nok":                                                         true,
			line + "Content-Length: 1_0\r\n\r\nok":                                                         true,
			line + "Content-Length: \xb2\r\n\r\nok":                                                        true,
			line + "Content-Length: \v2\r\n\r\nok":                                                         true,
			line + "Content-Length:\r\n\r\nok":                                                             true,
			line + "Content-Length: \r\n\r\nok":                                                            true,
			line + "Content-Length: 9223372036854775808\r\n\r\nok":                                         true,
			line + "Content-Length: 99999999999999999999\r\n\r\nok":                                        true,
			line + "Content-Length:2\r\n\r\nok":                                                            false,
			line + "Content-Length: \t 2 \t\r\n\r\nok":                                                     false,
			line + "Content-Length: 2 \r\n\r\nok":                                                          false, // the space is no part of the value
			line + "Content-Length: 0002\r\n\r\nok":                                                        false,
			line + "CONTENT-LENGTH: 2\r\n\r\nok":                                                           false,
			line + "Transfer-Encoding: identity\r\n\r\nok":                                                 true,
			line + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks:                                     true,
			line + "Transfer-Encoding: chunked, chunked\r\n\r\n" + chunks:                                  true,
			line + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunks:                                 true,
			line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks:             true,
			line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunks:            true,
			line + "Transfer-Encoding: gzip\r\n\r\n" + chunks:                                              true,
			line + "Transfer-Encoding: xchunked\r\n\r\n" + chunks:                                          true,
			line + "Transfer-Encoding: \"chunked\"\r\n\r\n" + chunks:                                       true,
			line + "Transfer-Encoding: chunked;q=1\r\n\r\n" + chunks:                                       true,
			line + "Transfer-Encoding: chunked,\r\n\r\n" + chunks:                                          true,
			line + "Transfer-Encoding: \vchunked\r\n\r\n" + chunks:                                         true,
			line + "Transfer-Encoding: \r\n\r\n" + chunks:                                                  true,
			line + "Transfer-Encoding: CHUNKED\r\n\r\n" + chunks:                                           false,
			"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks:                               true,

			// Lines that end, or begin, in an odd way.
			line + "X: a\r\n b\r\nContent-Length: 2\r\n\r\nok":              false, // folded
			line + "X: a\r\n\tb\r\nContent-Length: 2\r\n\r\nok":             false,
			line + "X: a\r\n \r\nContent-Length: 2\r\n\r\nok":               true, // to others the end of the header
			line + "X: a\n\t \nContent-Length: 2\n\nok":                     true,
			line + "X: a\r\n b\x00\r\nContent-Length: 2\r\n\r\nok":          true,
			line + "X: a\r\n b\rc\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/1.1 200\r\n OK\r\nContent-Length: 2\r\n\r\nok":            true,
			line + " X: a\r\nContent-Length: 2\r\n\r\nok":                   true,
			"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok":                  false,
			line + "X: a\nContent-Length: 2\r\n\r\nok":                      false,
			line + "Content-Length: 2\r\n\nok":                              false,
			line + "Content-Length: 2\n\r\nok":                              false,
			line + "Content-Length: 2\n\nok":                                false,
			line + "Content-Length: 2\r\r\n\r\nok":                          true,
			line + "Content-Length: 2\r\n\r\r\n\r\nok":                      true,
			line + "X: a\rb\r\nContent-Length: 2\r\n\r\nok":                 true, // a bare carriage return
			line + "X: a\rContent-Length: 7\r\nContent-Length: 2\r\n\r\nok": true,
			line + "\rX: a\r\nContent-Length: 2\r\n\r\nok":                  true,
			"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok":              true,
			"\r\n" + ok: true,
			"\n" + ok:   true,
			" " + ok:    true,

			// Names and values.
			line + "X: a\x00b\r\nContent-Length: 2\r\n\r\nok":           true,
			line + "X: \x7f\r\nContent-Length: 2\r\n\r\nok":             true,
			line + "X: \x1b[31m\r\nContent-Length: 2\r\n\r\nok":         true,
			line + "X\x00: a\r\nContent-Length: 2\r\n\r\nok":            true,
			line + "X : a\r\nContent-Length: 2\r\n\r\nok":               false, // a space before the colon
			line + "X\t: a\r\nContent-Length: 2\r\n\r\nok":              false,
			line + "Content-Length : 2\r\n\r\nok":                       false,
			line + ": a\r\nContent-Length: 2\r\n\r\nok":                 true, // no name
			line + "X\r\nContent-Length: 2\r\n\r\nok":                   true, // no colon
			line + "X Y: a\r\nContent-Length: 2\r\n\r\nok":              true,
			line + "X(Y): a\r\nContent-Length: 2\r\n\r\nok":             true,
			line + "\xc3\x9c: a\r\nContent-Length: 2\r\n\r\nok":         true,
			line + "X:\r\nContent-Length: 2\r\n\r\nok":                  false,
			line + "X: :\r\nContent-Length: 2\r\n\r\nok":                false,
			line + "X: \t a b\tc \r\nContent-Length: 2\r\n\r\nok":       false,
			line + "X: \xff\xc3\x9c\r\nContent-Length: 2\r\n\r\nok":     false,
			line + "!#$%&'*+-.^_`|~1: a\r\nContent-Length: 2\r\n\r\nok": false,

			// Status lines.
			"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok":              false,
			"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok":             false,
			"HTTP/1.1 200  \xc3\x9c\t \r\nContent-Length: 2\r\n\r\nok": false,
			"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok":           false,
			"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok":          false,
			"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok":       true,
			"HTTP/1.1 200OK\r\nContent-Length: 2\r\n\r\nok":            true,
			"HTTP/1.1 200\tOK\r\nContent-Length: 2\r\n\r\nok":          true,
			"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok":          true,
			"HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok":          true,
			"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok":            true,
			"HTTP/1.1 20\r\nContent-Length: 2\r\n\r\nok":               true,
			"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok":          true,
			"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok":               true,
			"HTTP/1.1\r\nContent-Length: 2\r\n\r\nok":                  true,
			"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok":             true,
			"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTP/1.10 200 OK\r\nContent-Length: 2\r\n\r\nok":          true,
			"HTTP/1.1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":         true,
			"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":           true,
			"HTTPS/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":          true,
			"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok":                true,
			"220 mail ESMTP\r\n\r\n":                                   true,
			"<html>ok</html>\r\n\r\n":                                  true,
		} {
			tr := g.transport()
			done := start(tr, get(t))
			p := g.accept()
			p.answer(answer)
			o := receive(t, done, fmt.Sprintf("the outcome of %q", answer))
			switch {
			case !refused:
				if o.err != nil || o.body != "ok" {
					t.Errorf("%q: %+v", answer, o)
				}
			case !errors.Is(o.err, ErrMalformed):
				t.Errorf("%q: %+v, want it refused", answer, o)
			default:
				p.wantClosed()
				wantStats(t, tr, 0, 0)
			}
			tr.Close()
		}
	})
}

// TestInformationalAnswersMustBePlainToo because what they hide comes next.
func TestInformationalAnswersMustBePlainToo(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, answer := range []string{
			"HTTP/1.1 103 Early Hints\nX\x00: a\r\n\r\n", "HTTP/1.1 100 Continue\r\nX Y: a\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\n\r\nx", "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok",
			"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		} {
			tr := g.transport()
			done := start(tr, get(t))
			p := g.accept()
			p.answer(answer + ok)
			if o := receive(t, done, "the outcome"); !errors.Is(o.err, ErrMalformed) {
				t.Errorf("%q: %+v, want it refused", answer, o)
			}
			p.wantClosed()
		}
	})
}

// TestFieldsAreReadAsNetHTTPReadsThem in their canonical form and in order.
func TestFieldsAreReadAsNetHTTPReadsThem(t *testing.T) {
	t.Parallel()
	section := "content-type: a\r\nX-one:1\r\nx-ONE:  2 \r\nSet-Cookie: a=b\r\nX-ONE: 3\r\nset-cookie: c=d\r\n-x-: y\r\nx--y: \r\n" +
		"etag: \"a,b\"\r\na_b.c: d\r\n\r\n"
	got, err := parseFields(section, strings.Count(section, "\r\n")-1)
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Content-Type": {"a"}, "X-One": {"1", "2", "3"}, "Set-Cookie": {"a=b", "c=d"}, "-X-": {"y"}, "X--Y": {""},
		"Etag": {"\"a,b\""}, "A_b.c": {"d"},
	}
	for name, values := range want {
		if strings.Join(got[name], "|") != strings.Join(values, "|") {
			t.Errorf("%s is %q, want %q", name, got[name], values)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%q", got)
	}
	// They share memory, which must not show.
	got.Add("Content-Type", "b")
	got["Etag"] = append(got["Etag"], "c")
	if strings.Join(got["X-One"], "|") != "1|2|3" || got.Get("Set-Cookie") != "a=b" || got["-X-"][0] != "y" {
		t.Errorf("adding to one field changes another: %q", got)
	}
}

// TestOddAnswersArePassedOnClean because nobody can read them in another way, and other
// proxies take them: an application that worked behind those must work here.
func TestOddAnswersArePassedOnClean(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		const line = "HTTP/1.1 200 OK\r\n"
		for answer, want := range map[string]struct {
			header string
			kept   bool
		}{
			line + "Content-Length: 2\r\ncontent-length: 2\r\n\r\nok":                               {"map[Content-Length:[2]]", true},
			line + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n":    {"map[Transfer-Encoding:[chunked]]", false},
			line + "X: a \r\n \t b\r\n\tc\r\nContent-Length: 2\r\n\r\nok":                           {"map[Content-Length:[2] X:[a b c]]", true},
			line + "X:\r\n a\r\nX: b\r\nContent-Length: 2\r\n\r\nok":                                {"map[Content-Length:[2] X:[a b]]", true},
			line + "X \t: a\r\nContent-Length\t : 2\r\n\r\nok":                                      {"map[Content-Length:[2] X:[a]]", true},
			"HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok":                                        {"map[Content-Length:[2] X:[a]]", true},
			"HTTP/1.1 103 Early Hints\nX : a\n\nHTTP/1.1 200 OK\r\nContent-Length: 2\nX: a\r\n\nok": {"map[Content-Length:[2] X:[a]]", true},
		} {
			tr := g.transport()
			done := start(tr, get(t))
			p := g.accept()
			p.answer(answer)
			o := receive(t, done, fmt.Sprintf("the outcome of %q", answer))
			if o.err != nil || o.body != "ok" || fmt.Sprint(o.resp.Header) != want.header {
				t.Errorf("%q: %+v, want the header %s", answer, o, want.header)
			}
			if kept := tr.Stats().Idle == 1; kept != want.kept {
				t.Errorf("%q: the connection is kept: %v", answer, kept)
			}
			tr.Close()
		}
	})
}

// TestErrorSaysInOneSentenceWhatIsWrongWithAnAnswer since it is all that a developer gets
// to see of it.
func TestErrorSaysInOneSentenceWhatIsWrongWithAnAnswer(t *testing.T) {
	t.Parallel()
	const line = "HTTP/1.1 200 OK\r\n"
	for answer, want := range map[string]string{
		"220 mail.example.com ESMTP\r\n":                          `it begins with "220 mail.example.com ESMTP\r\n"`,
		"HTTP/1.1 2000 OK\r\n\r\n":                                `its status line is "HTTP/1.1 2000 OK"`,
		line + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok": `it has two lengths: "2" and "3"`,
		line + "Content-Length: two\r\n\r\n":                      `its Content-Length is not a number: "two"`,
		line + "Transfer-Encoding: chunked, chunked\r\n\r\n":      `its Transfer-Encoding is not chunked but "chunked, chunked"`,
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":   "it has a Transfer-Encoding, which HTTP/1.0 does not know",
		line + "X: a\rb\r\n\r\n":                                  `the field X has a control character: "a\rb"`,
		line + "X\x00: a\r\n\r\n":                                 `the name of a field is not a token: "X\x00: a"`,
		line + "X\r\n\r\n":                                        `a field line has no colon: "X"`,
		line + " X: a\r\n\r\n":                                    `its first field line begins with white space: " X: a"`,
		line + "X: a\r\n \r\n\r\n":                                "a line of white space is in its header",
	} {
		_, _, err := readOurs(http.MethodGet, []byte(answer), len(answer))
		if want = "malformed HTTP answer: " + want; !errors.Is(err, ErrMalformed) || err.Error() != want {
			t.Errorf("%q:\n%v, want\n%s", answer, err, want)
		}
	}
}
