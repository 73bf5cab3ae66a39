package clients

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// firstByteWithin is what answers may be late by. They are not late by nature, but
// the machine may be busy: the best of some tries counts.
const (
	firstByteWithin = 100 * time.Millisecond
	firstByteTries  = 30
)

// Traps 27 and 28: whatever an app has sent so far, the client has it too, while the
// app is still busy with the rest.
func TestAnswersAreNotHeldBack(t *testing.T) {
	t.Parallel()
	const first, rest = "the first part", " and the rest"
	flushed := func(status int, header ...string) func(c *rawConn) {
		return func(c *rawConn) {
			c.write(fmt.Sprintf("HTTP/1.1 %d X\r\n%s\r\n\r\n", status, strings.Join(header, "\r\n")))
		}
	}
	for name, kind := range map[string]struct {
		head    func(c *rawConn)
		chunked bool
	}{
		"chunked":           {flushed(200, "Transfer-Encoding: chunked"), true},
		"redirect":          {flushed(302, "Location: /elsewhere", "Transfer-Encoding: chunked"), true},
		"redirect, length":  {flushed(302, "Location: /elsewhere", fmt.Sprint("Content-Length: ", len(first+rest))), false},
		"event stream":      {flushed(200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked"), true},
		"with a charset":    {flushed(200, "Content-Type: text/event-stream; charset=utf-8", "Transfer-Encoding: chunked"), true},
		"X-Accel-Buffering": {flushed(200, "X-Accel-Buffering: no", fmt.Sprint("Content-Length: ", len(first+rest))), false},
		"no length":         {flushed(200, "Content-Type: text/event-stream"), false},
		"no length, text":   {flushed(200, "Content-Type: text/plain"), false},
		"error page":        {flushed(500, "Transfer-Encoding: chunked"), true},
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				sent, goOn := make(chan time.Time, 1), make(chan struct{})
				a := startRawApp(t, func(c *rawConn) {
					if _, err := c.next(); err != nil {
						return
					}
					part := func(s string) {
						if kind.chunked {
							s = fmt.Sprintf("%x\r\n%s\r\n", len(s), s)
						}
						c.write(s)
					}
					kind.head(c)
					part(first)
					sent <- time.Now()
					<-goOn
					part(rest)
					if kind.chunked {
						c.write("0\r\n\r\n")
					}
				})
				c := newSite(t, plain.Get(t), a.addr).client(t, protocol)
				best := time.Duration(1 << 62)
				for range firstByteTries {
					resp, err := c.Do(c.request(t, http.MethodGet, "/", nil))
					must(t, err)
					b := make([]byte, len(first))
					_, err = io.ReadFull(resp.Body, b)
					late := time.Since(arrive(t, "the app", sent))
					if err != nil || string(b) != first {
						t.Fatalf("%q, %v", b, err)
					}
					goOn <- struct{}{}
					b, err = io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(b) != rest {
						t.Errorf("the rest is %q, %v", b, err)
					}
					if best = min(best, late); best < firstByteWithin {
						break
					}
				}
				t.Logf("first byte after %s", best)
				if best >= firstByteWithin {
					t.Errorf("the first byte came %s after the app had sent it", best)
				}
			})
		})
	}
}

// Trap 29: the head of an answer does not wait for the first byte of its body. A
// long poll has nothing to say for as long as nothing happens.
func TestHeadArrivesWhileTheAppIsSilent(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]func(h http.Header){
		"chunked":      func(http.Header) {},
		"length":       func(h http.Header) { h.Set("Content-Length", "4") },
		"event stream": func(h http.Header) { h.Set("Content-Type", "text/event-stream") },
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				sent, goOn := make(chan time.Time, 1), make(chan struct{})
				a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
					head(w.Header())
					_ = http.NewResponseController(w).Flush()
					sent <- time.Now()
					<-goOn
					_, _ = io.WriteString(w, "news")
				})
				c := newSite(t, plain.Get(t), a.addr()).client(t, protocol)
				best := time.Duration(1 << 62)
				for range firstByteTries {
					resp, err := c.Do(c.request(t, http.MethodGet, "/", nil))
					if err != nil {
						close(goOn)
						t.Fatalf("no head arrived: %v", err)
					}
					best = min(best, time.Since(arrive(t, "the app", sent)))
					goOn <- struct{}{}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(body) != "news" {
						t.Errorf("the body is %q, %v", body, err)
					}
					if best < firstByteWithin {
						break
					}
				}
				t.Logf("head after %s", best)
				if best >= firstByteWithin {
					t.Errorf("the head came %s after the app had sent it", best)
				}
			})
		})
	}
}

// What a client sends reaches the app while the client is still busy with the rest,
// and the answer may begin before the upload ends.
func TestUploadIsNotHeldBack(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex()
			b := make([]byte, 100)
			for {
				n, err := r.Body.Read(b)
				_, _ = w.Write(b[:n])
				_ = rc.Flush()
				if err != nil {
					return
				}
			}
		})
		c := newSite(t, plain.Get(t), a.addr()).client(t, protocol)
		body, upload := io.Pipe()
		go func() { _, _ = io.WriteString(upload, "ping 0") }()
		resp, err := c.Do(c.request(t, http.MethodPost, "/", body))
		must(t, err)
		defer resp.Body.Close()
		for i := range 10 {
			want := fmt.Sprint("ping ", i)
			b := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != want {
				t.Fatalf("%q, %v instead of %q", b, err, want)
			}
			if i < 9 {
				_, err = io.WriteString(upload, fmt.Sprint("ping ", i+1))
				must(t, err)
			}
		}
		must(t, upload.Close())
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("at the end: %q, %v", rest, err)
		}
	})
}
