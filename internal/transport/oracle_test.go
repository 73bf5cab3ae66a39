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
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// answer is what has been read of an answer, and by how many bytes.
type answer struct {
	status   int
	reason   string
	header   http.Header
	body     string
	trailer  http.Header
	consumed int
}

// memoryConn is a connection to a target that has answered already, and closed its
// side. Its reads return at most as many bytes as piece says.
type memoryConn struct {
	net.Conn
	data  []byte
	read  int
	piece int
	// closed is set when the transport closes it.
	closed bool
}

func (c *memoryConn) Read(p []byte) (int, error) {
	if c.read == len(c.data) {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.data[c.read:])
	c.read += n
	return n, nil
}

func (c *memoryConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

func (c *memoryConn) Close() error {
	c.closed = true
	return nil
}

// readOurs reads an answer with the transport, piece by piece, and reports whether
// it keeps the connection.
func readOurs(method string, data []byte, piece int) (a answer, kept bool, err error) {
	nc := &memoryConn{data: data, piece: piece}
	tr := &Transport{Dial: func(context.Context) (net.Conn, error) { return nc, nil }}
	defer tr.Close()
	req, err := http.NewRequest(method, "http://app.test/", nil)
	if err != nil {
		return a, false, err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return a, false, err
	}
	defer resp.Body.Close()
	a = answer{status: resp.StatusCode, reason: resp.Status, header: resp.Header}
	if up, is := resp.Body.(*Switched); is {
		a.consumed = nc.read - len(up.buffered)
		return a, false, nil
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && !nc.closed {
		kept = tr.Stats().Idle == 1
	}
	if kept == nc.closed {
		return a, kept, errors.New("the connection is kept and closed, or neither")
	}
	a.body, a.trailer, a.consumed = string(body), resp.Trailer, nc.read
	return a, kept, err
}

// errInformational means that the standard library refuses an informational answer.
var errInformational = errors.New("an informational answer is refused")

// readTheirs reads an answer with the standard library, passing over informational
// ones as its transport does.
func readTheirs(method string, data []byte) (a answer, resp *http.Response, err error) {
	src := bytes.NewReader(data)
	r := bufio.NewReaderSize(iotest.OneByteReader(src), 1<<20) // takes no more than it needs
	req := &http.Request{Method: method}
	for {
		rest := data[len(data)-src.Len():]
		if resp, err = http.ReadResponse(r, req); err != nil {
			if bytes.HasPrefix(rest, []byte("HTTP/1.1 1")) || bytes.HasPrefix(rest, []byte("HTTP/1.0 1")) {
				err = errInformational
			}
			return a, resp, err
		}
		if resp.StatusCode < 100 || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Status, resp.Header, string(body), resp.Trailer, len(data) - src.Len()}, resp, err
}

// comparable removes the differences between the two that are as they should be.
func (a answer) comparable() answer {
	a.header, a.trailer = maps.Clone(a.header), maps.Clone(a.trailer)
	// net/http moves these to other fields. We leave them, for the proxy to drop.
	delete(a.header, "Transfer-Encoding")
	delete(a.header, "Trailer")
	delete(a.header, "Connection") // only if it says close, but then with all it says
	if a.status == http.StatusSwitchingProtocols {
		delete(a.header, "Content-Length") // says nothing here; net/http makes one of two
	}
	// A trailer has no business with framing, routing and the like (RFC 9110,
	// section 6.5.1). We drop such fields; net/http passes them on.
	maps.DeleteFunc(a.trailer, func(name string, values []string) bool {
		return len(values) == 0 || !httpguts.ValidTrailerHeader(name)
	})
	return a
}

// strictAbout reports whether net/http is right to refuse what we accept.
func strictAbout(header http.Header) bool {
	// To announce one of these is an error to net/http. We do not believe it, and
	// would not take the trailer either.
	for _, list := range header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			switch http.CanonicalHeaderKey(strings.TrimSpace(name)) {
			case "Transfer-Encoding", "Trailer", "Content-Length":
				return true
			}
		}
	}
	return false
}

// spaceBeforeColon finds what a proxy has to remove (RFC 9112, section 5.1).
var spaceBeforeColon = regexp.MustCompile(`(?m)^[^\s:]+[ \t]+:`)

// checkAnswer fails the test if what the transport makes of data is not what the
// standard library does. It may well refuse more.
func checkAnswer(t *testing.T, method string, data []byte, piece int) {
	t.Helper()
	ours, kept, err := readOurs(method, data, 1)
	whole, keptWhole, wholeErr := readOurs(method, data, len(data)+1)
	pieces, _, piecesErr := readOurs(method, data, piece)
	if err == io.EOF || (err == nil) != (wholeErr == nil) || (err == nil) != (piecesErr == nil) {
		t.Fatalf("byte by byte %v, in pieces of %d %v, as a whole %v", err, piece, piecesErr, wholeErr)
	}
	if err != nil {
		return
	}
	consumed := ours.consumed
	whole.consumed, pieces.consumed = consumed, consumed
	equal(t, "as a whole", whole, ours)
	equal(t, "in pieces", pieces, ours)
	if keptWhole && consumed != len(data) {
		t.Fatalf("the connection is kept, though %q is left over", data[consumed:])
	}
	if keptWhole && !kept {
		t.Fatal("the connection is kept only if everything comes at once")
	}
	if spaceBeforeColon.Match(data) {
		return // net/http leaves it in the name, whose field then has no meaning
	}
	theirs, resp, err := readTheirs(method, data)
	if err != nil {
		// An informational answer has no body, whatever its header says (RFC 9112,
		// section 6.3). net/http refuses one that says two things.
		if strictAbout(ours.header) || err == errInformational {
			return
		}
		t.Fatalf("we accept %+v, net/http does not: %v", ours, err)
	}
	if pragma := ours.header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && ours.header["Cache-Control"] == nil {
		delete(theirs.header, "Cache-Control") // which net/http makes up
	}
	equalToTheirs(t, "by net/http", ours, theirs)
	if kept && resp.Close {
		t.Fatal("the connection is kept, though the target wants to close it")
	}
}

// equalToTheirs fails the test if ours is not theirs, but for what is as it should be.
func equalToTheirs(t *testing.T, how string, ours, theirs answer) {
	t.Helper()
	if ours.header["Transfer-Encoding"] != nil {
		theirs.header = maps.Clone(theirs.header)
		delete(theirs.header, "Content-Length") // which net/http leaves where there is no body
	}
	equal(t, how, theirs.comparable(), ours.comparable())
}

func equal(t *testing.T, how string, a, b answer) {
	t.Helper()
	if a.status != b.status || a.reason != b.reason || a.body != b.body || a.consumed != b.consumed ||
		!maps.EqualFunc(a.header, b.header, slices.Equal) || !maps.EqualFunc(a.trailer, b.trailer, slices.Equal) {
		t.Fatalf("read %s:\n%+v\nand otherwise:\n%+v", how, a, b)
	}
}

// seeds are answers from which a fuzzer can begin.
var seeds = []string{
	ok, ok + ok, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + ok,
	"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100\r\n\r\n" + ok,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A, X-B\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\nx-a: 2\r\nX-C: 3\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n2;a=\"b\"\r\nok\r\n001\r\n!\r\n0\r\n\r\nHTTP/1.1",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\nHost: a\r\nTransfer-Encoding: b\r\n\r\n",
	"HTTP/1.0 200 OK\r\n\r\nto the end", "HTTP/1.1 200 OK\r\nX: a\r\n\r\nto the end", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nearly",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
	"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n\rX: a\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\nX:\r\n a \n\t b\r\nX: c\nContent-Length:\n 2\r\n\nok", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length\t: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\r\n \r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nPragma: no-cache\r\nTrailer: Content-Length\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200  odd \t reason\r\nSet-Cookie: a\r\nset-cookie: b\r\nX:\r\nContent-Length:\t2 \r\n\r\nok",
}

// FuzzAnswer holds what we make of an answer against what the standard library
// does.
func FuzzAnswer(f *testing.F) {
	for i, seed := range seeds {
		f.Add(i%3 == 1, []byte(seed), uint8(i))
	}
	f.Fuzz(func(t *testing.T, head bool, data []byte, piece uint8) {
		if len(data) > 4<<10 {
			t.Skip("byte by byte, this would take long")
		}
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		checkAnswer(t, method, data, 2+int(piece))
	})
}

// TestAnswersAreReadAsNetHTTPReadsThem puts answers together from parts that belong
// there, or nearly.
func TestAnswersAreReadAsNetHTTPReadsThem(t *testing.T) {
	t.Parallel()
	rnd := testkit.NewRand(t)
	pick := func(parts ...string) string { return parts[rnd.IntN(len(parts))] }
	accepted := 0
	for range 5000 {
		var b strings.Builder
		for range rnd.IntN(3) {
			b.WriteString(pick("", "", "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 199 ?\r\nContent-Length: 3\r\n\r\n"))
		}
		b.WriteString(pick("HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.0 404 Not Found", "HTTP/1.1 204 ", "HTTP/1.1 304 x", "HTTP/1.1 500 \t", "HTTP/1.1 101 Switching"))
		b.WriteString(pick("\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\r\n"))
		for range rnd.IntN(4) {
			b.WriteString(pick("Content-Length: 10", "content-length:\t3 ", "Content-Length: 0", "Transfer-Encoding: chunked", "TRANSFER-ENCODING: ChunKed",
				"Connection: close", "Connection: keep-alive", "Trailer: X-A", "X-A: 1", "x-a: 2", "X: \xff", "Pragma: no-cache", "Date: x", "X:", " folded", "\tfolded ", " ", "X : z", "Content-Length: 10", "\rX: y", ":"))
			b.WriteString(pick("\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n"))
		}
		b.WriteString(pick("\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\n\r\n"))
		for range rnd.IntN(4) {
			b.WriteString(pick("3\r\nabc\r\n", "a\r\n0123456789\r\n", "A;x=y\r\n0123456789\r\n", "0123456789", "abc", "x", ok))
		}
		b.WriteString(pick("", "0\r\n\r\n", "0\r\n\r\n", "0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", "0\r\n X-A: 1\r\n\r\n", "0\n\r\n"))
		b.WriteString(pick("", "", ok, "\r\n", "x"))
		data := []byte(b.String())
		method := pick(http.MethodGet, http.MethodGet, http.MethodHead)
		checkAnswer(t, method, data, 2+rnd.IntN(20))
		if t.Failed() {
			t.Fatalf("%s: %q", method, data)
		}
		if _, _, err := readOurs(method, data, len(data)); err == nil {
			accepted++
		}
	}
	if accepted < 500 {
		t.Errorf("only %d answers were accepted: that says little", accepted)
	}
}
