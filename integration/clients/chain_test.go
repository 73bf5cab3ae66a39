package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// Trap 25: between the server's response writer and the forwarder are others, for
// access logs among other things. None of them may lose what the first can do.
func TestWholeChainKeepsWhatItWraps(t *testing.T) {
	t.Parallel()
	for name, sh := range map[string]*rigtest.Shared[*server]{"plain": &plain, "access log": &logged} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				t.Run("flush", func(t *testing.T) { testFlush(t, sh.Get(t), protocol) })
				t.Run("hijack", func(t *testing.T) { testHijack(t, sh.Get(t), protocol) })
				t.Run("read from", func(t *testing.T) { testReadFrom(t, sh.Get(t), protocol) })
				t.Run("trailers", func(t *testing.T) { testTrailers(t, sh.Get(t), protocol) })
			})
		})
	}
}

func testFlush(t *testing.T, s *server, protocol string) {
	goOn := make(chan struct{})
	a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-goOn
	})
	c := newSite(t, s, a.addr()).client(t, protocol)
	resp, err := c.Do(c.request(t, http.MethodGet, "/", nil))
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadFull(resp.Body, make([]byte, len("first")))
	}
	close(goOn)
	must(t, err)
}

func testHijack(t *testing.T, s *server, protocol string) {
	ws, err := newSite(t, s, startEcho(t, "app").addr()).client(t, protocol).dialWebSocket(t, "/ws")
	must(t, err)
	// Sizes around those of frame headers and of buffers.
	for _, n := range []int{0, 1, 125, 126, 4096, 32_000} {
		message := strings.Repeat("m", n)
		if got, err := echo(ws, message); err != nil || got != "app "+message {
			t.Fatalf("a message of %d bytes came back as %d bytes, %v", n, len(got), err)
		}
	}
}

// pattern returns n bytes that show when some are missing or doubled. It does so
// without fmt: with the race detector, a MiB would take half a second.
func pattern(n int) []byte {
	b := make([]byte, 0, n+8)
	var word [4]byte
	for i := uint32(0); len(b) < n; i++ {
		binary.BigEndian.PutUint32(word[:], i*2654435761)
		b = hex.AppendEncode(b, word[:])
	}
	return b[:n]
}

func testReadFrom(t *testing.T, s *server, protocol string) {
	const size = 3<<20 + 17 // more than any window or buffer on the way
	content := pattern(size)
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		w.Header().Set("X-Got", fmt.Sprintf("%d %x", n, h.Sum(nil)))
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = io.Copy(w, bytes.NewReader(content))
	})
	c := newSite(t, s, a.addr()).client(t, protocol)
	for _, path := range []string{"/length", "/chunked"} {
		for _, known := range []bool{true, false} {
			body := io.Reader(bytes.NewReader(content))
			if !known {
				body = struct{ io.Reader }{body}
			}
			got, err := c.ask(c.request(t, http.MethodPost, path, body))
			must(t, err)
			if up := got.Header.Get("X-Got"); up != fmt.Sprintf("%d %s", size, sum) {
				t.Errorf("%s: of %d bytes (length known: %t) the app got %s", path, size, known, up)
			}
			if down := fmt.Sprintf("%x", sha256.Sum256([]byte(got.body))); down != sum {
				t.Errorf("%s: of %d bytes the client got %d with the sum %s", path, size, len(got.body), down)
			}
			if path == "/length" && got.ContentLength != size {
				t.Errorf("%s: Content-Length is %d", path, got.ContentLength)
			}
		}
	}
}

// Trap 26, without gRPC: trailers in both directions, announced or not. Request
// trailers over HTTP/3 are left out: quic-go puts them into the request that it has
// made, and Caddy hands on a copy of that.
func testTrailers(t *testing.T, s *server, protocol string) {
	a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		if announced := w.Header(); r.URL.Path == "/announced" {
			announced.Set("Trailer", "X-Sum, X-Empty")
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(bytes.ToUpper(body))
		_ = http.NewResponseController(w).Flush()
		sum := "from the app"
		if protocol != h3 {
			sum += " and " + r.Trailer.Get("X-Up")
		}
		if r.URL.Path == "/announced" {
			w.Header().Set("X-Sum", sum)
			w.Header().Set("X-Empty", "")
		} else {
			w.Header().Set(http.TrailerPrefix+"X-Sum", sum)
		}
	})
	c := newSite(t, s, a.addr()).client(t, protocol)
	for _, path := range []string{"/announced", "/unannounced"} {
		req := c.request(t, http.MethodPost, path, nil)
		req.ContentLength, req.Trailer = -1, http.Header{"X-Up": nil}
		req.Body = io.NopCloser(&atEOF{Reader: strings.NewReader("body"), do: func() { req.Trailer.Set("X-Up", "the client") }})
		got, err := c.ask(req)
		must(t, err)
		want := "from the app and the client"
		if protocol == h3 {
			want = "from the app"
		}
		if got.body != "BODY" || got.Trailer.Get("X-Sum") != want {
			t.Errorf("%s: %q, trailer %v", path, got.body, got.Trailer)
		}
	}
}

// atEOF does something when its reader has come to its end.
type atEOF struct {
	io.Reader
	do func()
}

func (r *atEOF) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.do()
	}
	return n, err
}

// What the client said about its body, and no more: a request without one has no
// framing headers at the app, and a known length stays known.
func TestRequestFramingIsKept(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		x := newSite(t, plain.Get(t), startRawApp(t, serveRaw(func(r *rawRequest) string {
			return ok(fmt.Sprint(r.header("Content-Length"), r.header("Transfer-Encoding"), r.body))
		})).addr)
		c := x.client(t, protocol)
		for _, test := range []struct {
			method string
			body   io.Reader
			want   string
		}{
			{"GET", nil, "[] []"},
			{"HEAD", nil, ""},
			{"DELETE", nil, "[] []"},
			{"OPTIONS", nil, "[] []"},
			{"PROPFIND", nil, "[] []"},
			{"POST", strings.NewReader("body"), "[4] []body"},
			{"GET", strings.NewReader("body"), "[4] []body"},
			{"PUT", struct{ io.Reader }{strings.NewReader("body")}, "[] [chunked]body"},
		} {
			got, err := c.ask(c.request(t, test.method, "/", test.body))
			must(t, err)
			if got.body != test.want {
				t.Errorf("%s with %T: the app got %q, want %q", test.method, test.body, got.body, test.want)
			}
		}
	})
}
