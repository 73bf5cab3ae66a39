package integration

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What is too large is refused for that request alone, with a line in the log. Requests in
// flight on the same connection, and later ones, are served.
func TestLargeHeadHarmsNoOtherRequest(t *testing.T) {
	for _, tt := range []struct {
		flags          []string
		fits, tooLarge int
	}{
		{nil, 60 << 10, 70 << 10},
		{[]string{"--max-header-size=4KiB"}, 3 << 10, 17 << 10},
		{[]string{"--max-header-size=200000"}, 190_000, 300_000},
		{[]string{"--access-log"}, 60 << 10, 1_000_000}, // without the fast path
	} {
		t.Run(strings.Join(tt.flags, " "), func(t *testing.T) {
			p := startProxy(t, tt.flags...)
			arrived, answer := make(chan struct{}, 1), make(chan struct{})
			a := startApp(t, "a", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					arrived <- struct{}{}
					<-answer
				}
				_, _ = fmt.Fprint(w, len(r.Header.Get("Cookie")))
			})
			if r := run(t, p, "deploy", a.addr(), "--host", "app.localhost", "--tls=internal"); r.Code != 0 {
				t.Fatalf("deploy: %+v", r)
			}
			roots := internalRoots(t, p)
			for _, protocol := range protocols {
				c := tlsClient(t, p, protocol, roots, "app.localhost")
				send := func(path string, cookie int) (*http.Response, string) {
					t.Helper()
					req, err := http.NewRequest(http.MethodGet, "https://app.localhost"+path, nil)
					must(t, err)
					req.Header.Set("Cookie", strings.Repeat("c", cookie))
					return askFor(t, c, req)
				}
				slow := make(chan string, 1)
				go func() {
					resp, err := c.Get("https://app.localhost/slow")
					if err != nil {
						slow <- err.Error()
						return
					}
					resp.Body.Close()
					slow <- resp.Status
				}()
				arrive(t, "the slow request", arrived)
				for range 2 { // the second takes the fast path
					if resp, body := send("/", tt.fits); resp.StatusCode != http.StatusOK || body != itoa(tt.fits) {
						t.Errorf("%s: %d bytes: %s %q", protocol, tt.fits, resp.Status, body)
					}
					said := func() int { return strings.Count(p.Log(), "head is too large") }
					before := said()
					if resp, body := send("/", tt.tooLarge); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge || resp.Header.Get("X-Parachute-Error") != "large_head" {
						t.Errorf("%s: %d bytes: %s %q", protocol, tt.tooLarge, resp.Status, body)
					}
					waitFor(t, "a line in the log", func() bool { return said() > before })
					if resp, _ := send("/"+strings.Repeat("x", tt.tooLarge), 0); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
						t.Errorf("%s: a long path: %s", protocol, resp.Status)
					}
				}
				answer <- struct{}{}
				if status := arrive(t, "the answer to the slow request", slow); status != "200 OK" {
					t.Errorf("%s: the slow request: %s", protocol, status)
				}
			}
		})
	}
}

// A client that heeds what the server says of its limits does not send what would end an
// HTTP/2 connection. Of one that does not, nobody else is harmed.
func TestHeadBeyondAllMeasureEndsItsOwnConnection(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	if r := run(t, p, "deploy", a.addr(), "--host", "app.localhost", "--tls=internal"); r.Code != 0 {
		t.Fatalf("deploy: %+v", r)
	}
	roots := internalRoots(t, p)
	for _, protocol := range protocols {
		c := tlsClient(t, p, protocol, roots, "app.localhost")
		ask(t, c, "https://app.localhost/") // has the settings of the server
		req, err := http.NewRequest(http.MethodGet, "https://app.localhost/", nil)
		must(t, err)
		req.Header.Set("Cookie", strings.Repeat("c", 2<<20))
		resp, err := c.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		switch protocol {
		case "HTTP/2.0":
			if err == nil || !strings.Contains(err.Error(), "limit") {
				t.Errorf("%s: %v %v", protocol, resp, err)
			}
		case "HTTP/3.0":
			if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: %v %v", protocol, resp, err)
			}
		case "HTTP/1.1":
			// The server ends the connection, perhaps before the client has read the answer.
			if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: %v", protocol, resp)
			}
		}
		if _, body := ask(t, c, "https://app.localhost/"); body != "a" {
			t.Errorf("%s: then: %q", protocol, body)
		}
	}

	conn, err := tls.Dial("tcp", p.HTTPSAddr(), &tls.Config{RootCAs: roots, ServerName: "app.localhost", NextProtos: []string{"h2"}})
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(conn, conn)
	must(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "app.localhost"}, {":path", "/"}, {"x", strings.Repeat("\x7f", 2<<20)}} {
		must(t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	go func() { // which fails when the server closes
		const most = 16 << 10
		b := block.Bytes()
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:most], EndStream: true})
		for b = b[most:]; len(b) > 0; b = b[min(most, len(b)):] {
			if framer.WriteContinuation(1, len(b) <= most, b[:min(most, len(b))]) != nil {
				return
			}
		}
	}()
	for {
		frame, err := framer.ReadFrame()
		must(t, err)
		if goAway, ok := frame.(*http2.GoAwayFrame); ok {
			t.Logf("HTTP/2: %v", goAway.ErrCode)
			break
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok {
			t.Fatalf("HTTP/2: an answer: %v", headers)
		}
	}
}
