package clients

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// wire is a connection to the proxy on which a test says exactly what it wants, one
// request after the other.
type wire interface {
	// setHost sets the host of the requests that follow. It is the site's at first.
	setHost(host string)
	// begin sends the head of a request, whose target is not touched. Without a
	// body, the request ends here.
	begin(method, target string, body bool, header ...field)
	// send sends a part of the body.
	send(data string)
	// end ends the body.
	end()
	// abort gives the request up.
	abort()
	// answer returns the answer as far as it comes.
	answer() wireAnswer
}

type field struct{ name, value string }

// wireAnswer is an answer as it came.
type wireAnswer struct {
	informational []int
	status        int // 0 if there was none
	header        http.Header
	body          string
	trailer       http.Header
	// last says that the proxy will close the connection.
	last bool
	// err says how the answer broke off; nil if it is whole.
	err error
}

func (a wireAnswer) String() string {
	return fmt.Sprintf("%d %v %q, %v", a.status, a.informational, a.body, a.err)
}

// refused reports whether the answer blames the client with the given status, or is
// none at all, because the connection or the stream has ended. Silence is none.
func (a wireAnswer) refused(status int) bool {
	return a.status == status || a.status == 0 && a.err != nil && !errors.Is(a.err, os.ErrDeadlineExceeded)
}

// dialWire opens a connection of its own and makes a first request, which is about no
// site: those after it may take another way through the proxy.
func (x *site) dialWire(t *testing.T, protocol string) wire {
	t.Helper()
	w := x.dialNewWire(t, protocol)
	w.setHost("nobody." + domain)
	w.begin(http.MethodGet, "/", false)
	if got := w.answer(); got.status != http.StatusNotFound && got.status != http.StatusMisdirectedRequest {
		t.Fatalf("the first request of a connection: %s", got)
	}
	w.setHost(x.host)
	return w
}

// dialNewWire opens a connection of its own.
func (x *site) dialNewWire(t *testing.T, protocol string) wire {
	t.Helper()
	switch protocol {
	case h2:
		return x.dialH2(t)
	case h3:
		return x.dialH3(t)
	}
	return x.dialH1(t, protocol)
}

// askWire makes a request on such a connection.
func (x *site) askWire(t *testing.T, protocol, method, target, body string, header ...field) wireAnswer {
	t.Helper()
	w := x.dialWire(t, protocol)
	w.begin(method, target, body != "", header...)
	if body != "" {
		w.send(body)
		w.end()
	}
	return w.answer()
}

// h1Wire speaks HTTP/1.1.
type h1Wire struct {
	net.Conn
	in      *bufio.Reader
	host    string
	method  string
	chunked bool
}

func (x *site) dialH1(t *testing.T, protocol string) *h1Wire {
	t.Helper()
	conn, err := net.Dial("tcp", map[bool]string{false: x.Addr(), true: x.HTTPSAddr()}[protocol == h1TLS])
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	if protocol == h1TLS {
		conn = tls.Client(conn, x.tlsConfig("http/1.1"))
	}
	return &h1Wire{Conn: conn, in: bufio.NewReader(conn), host: x.host}
}

func (w *h1Wire) setHost(host string) { w.host = host }

func (w *h1Wire) begin(method, target string, body bool, header ...field) {
	w.method, w.chunked = method, body
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, w.host)
	for _, f := range header {
		head += f.name + ": " + f.value + "\r\n"
		w.chunked = w.chunked && !strings.EqualFold(f.name, "Content-Length")
	}
	if w.chunked {
		head += "Transfer-Encoding: chunked\r\n"
	}
	w.write(head + "\r\n")
}

// write sends bytes as they are. What goes wrong shows in the answer.
func (w *h1Wire) write(s string) { _, _ = io.WriteString(w.Conn, s) }

func (w *h1Wire) send(data string) {
	if w.chunked {
		data = fmt.Sprintf("%x\r\n%s\r\n", len(data), data)
	}
	w.write(data)
}

func (w *h1Wire) end() {
	if w.chunked {
		w.write("0\r\n\r\n")
	}
}

func (w *h1Wire) abort() { w.Close() }

func (w *h1Wire) answer() (a wireAnswer) {
	for {
		resp, err := http.ReadResponse(w.in, &http.Request{Method: w.method})
		if err != nil {
			a.err = err
			return a
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			a.status, a.header, a.last = resp.StatusCode, resp.Header, resp.Close
			body, err := io.ReadAll(resp.Body)
			a.body, a.err, a.trailer = string(body), err, resp.Trailer
			return a
		}
		a.informational = append(a.informational, resp.StatusCode)
	}
}
