package forward

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// arrival is a request as an app saw it.
type arrival struct {
	line   string
	fields http.Header // as they were spelled
	body   string
	// framing is how the end of the body was told.
	framing string
	trailer http.Header
	// broken says that the request did not come to its end.
	broken bool
	// times is how often it came.
	times int
}

// recorder is an app that notes the bytes of what it gets and answers by the script
// of a sample, which it tells by the header X-Sample.
type recorder struct {
	address string
	samples []sample

	// mu guards what follows.
	mu   sync.Mutex
	seen map[int]*arrival
}

func startRecorderOf(t testing.TB, samples []sample) *recorder {
	t.Helper()
	rec := &recorder{samples: samples, seen: make(map[int]*arrival)}
	rec.address = testkit.StartRawApp(t, func(_ int, conn net.Conn, _ *bufio.Reader) {
		tape := new(bytes.Buffer)
		r := bufio.NewReader(io.TeeReader(conn, tape))
		for rec.serve(conn, r, tape) {
		}
	})
	return rec
}

// arrived returns what arrived of a sample, or nil.
func (rec *recorder) arrived(i int) *arrival {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.seen[i]
}

// serve takes one request, whose bytes are on the tape, and reports whether there
// may be another.
func (rec *recorder) serve(conn net.Conn, r *bufio.Reader, tape *bytes.Buffer) bool {
	tape.Next(tape.Len() - r.Buffered())
	req, err := http.ReadRequest(r)
	head, _, whole := strings.Cut(tape.String(), "\r\n\r\n")
	if !whole {
		return false
	}
	a := parseHead(head)
	i, atoiErr := strconv.Atoi(a.fields.Get("X-Sample"))
	if atoiErr != nil {
		return false
	}
	s := rec.samples[i]
	switch {
	case s.early:
		_, _ = io.WriteString(conn, s.answer)
	case a.fields.Get("Expect") != "":
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if a.broken = err != nil || s.early && s.hangUp; !a.broken {
		body, err := io.ReadAll(req.Body)
		a.body, a.trailer, a.broken = string(body), req.Trailer, err != nil
	}
	rec.mu.Lock()
	if before := rec.seen[i]; before != nil {
		a.times = before.times
	}
	a.times++
	rec.seen[i] = a
	rec.mu.Unlock()
	if a.broken {
		return false
	}
	if !s.early {
		_, _ = io.WriteString(conn, s.answer)
	}
	if s.echo {
		_, _ = io.Copy(conn, r)
	}
	return !s.hangUp && !s.echo
}

// parseHead takes a head apart without understanding it.
func parseHead(head string) *arrival {
	lines := strings.Split(head, "\r\n")
	a := &arrival{line: lines[0], fields: make(http.Header)}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		a.fields[name] = append(a.fields[name], value)
	}
	for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
		if values := a.fields[name]; values != nil {
			a.framing += fmt.Sprint(name, values)
		}
	}
	return a
}

// ask sends the request of a sample to a proxy and returns the answer.
func ask(address string, s sample) (d departure, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return d, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Timeout))
	if _, err := io.WriteString(conn, s.head); err != nil {
		return d, err
	}
	sent := make(chan struct{})
	send := func() {
		defer close(sent)
		_, _ = io.WriteString(conn, s.body)
		if s.halfClose {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}
	if !s.expects {
		go send()
		defer func() { _ = conn.Close(); <-sent }()
	}
	r := bufio.NewReader(conn)
	var resp *http.Response
	for asked := false; ; {
		resp, err = http.ReadResponse(r, &http.Request{Method: s.method})
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return d, fmt.Errorf("waiting for the answer: %w", err)
		}
		if err != nil {
			return departure{torn: true}, nil
		}
		if resp.StatusCode == http.StatusContinue && s.expects && !asked {
			asked = true
			go send()
			defer func() { _ = conn.Close(); <-sent }()
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		d.informational = append(d.informational, fmt.Sprint(resp.StatusCode, resp.Header))
	}
	d.status, d.header, d.closes = resp.StatusCode, resp.Header, resp.Close
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_, _ = io.WriteString(conn, "ping")
		echo := make([]byte, 4)
		_, err := io.ReadFull(r, echo)
		d.echo = fmt.Sprint(string(echo), err)
		return d, nil
	}
	body, err := io.ReadAll(resp.Body)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return d, fmt.Errorf("waiting for the body: %w", err)
	}
	d.body, d.trailer, d.torn = string(body), resp.Trailer, err != nil
	return d, nil
}
