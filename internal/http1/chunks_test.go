package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/http1/corpus"
)

// readChunks gives body to Next in pieces: first those before and behind cut, and all of it if cut is 0. It
// returns the content, and how many bytes were taken.
func readChunks(t *testing.T, c *Chunks, body []byte, cut int) (content []byte, taken int, err error) {
	t.Helper()
	end := cut
	if cut == 0 {
		end = len(body)
	}
	for {
		data, n, err := c.Next(body[taken:end])
		if n > end-taken || len(data) > n {
			t.Fatalf("%d and %d of %d bytes", len(data), n, end-taken)
		}
		taken += n
		content = append(content, data...)
		switch {
		case err == nil && n == 0:
			t.Fatal("nothing is taken, and there is no error")
		case err == nil:
		case errors.Is(err, ErrIncomplete):
			if taken != end {
				t.Fatalf("%d bytes are not taken", end-taken)
			}
			if end == len(body) {
				return content, taken, err
			}
			end = len(body)
		default:
			return content, taken, err
		}
	}
}

// TestChunksAreReadOrRefused whatever parts they come in.
func TestChunksAreReadOrRefused(t *testing.T) {
	names := make(map[string]bool)
	for _, tt := range corpus.Chunks() {
		if names[tt.Name] {
			t.Errorf("two cases are %s", tt.Name)
		}
		names[tt.Name] = true
		var c Chunks
		step := 1 + len(tt.Body)/500 // long bodies are not cut everywhere
		for cut := 0; cut < len(tt.Body); cut += step {
			c.Reset()
			content, taken, err := readChunks(t, &c, []byte(tt.Body+"GET"), cut)
			if tt.Status == 0 {
				if !errors.Is(err, io.EOF) || string(content) != tt.Content || taken != len(tt.Body) {
					t.Errorf("%s, cut at %d: %q, %d, %v (%s)", tt.Name, cut, content, taken, err, tt.Section)
				}
			} else if refused, ok := errors.AsType[*Error](err); !ok || refused.Status != tt.Status {
				t.Errorf("%s, cut at %d: %v, want %d (%s)", tt.Name, cut, err, tt.Status, tt.Section)
			}
			if _, n, again := c.Next([]byte("0\r\n\r\n")); n != 0 || again != err {
				t.Errorf("%s: %d, %v after %v", tt.Name, n, again, err)
			}
		}
	}
	t.Logf("%d cases", len(names))
}

// TestTrailersAreAsTheyWereSent also when they come byte by byte.
func TestTrailersAreAsTheyWereSent(t *testing.T) {
	var c Chunks
	for _, b := range []byte("1\r\na\r\n0\r\nX-a: \tb \r\nx-C:\r\n\r\n") {
		_, _, _ = c.Next([]byte{b})
	}
	if len(c.Trailers) != 2 || string(c.Trailers[0].Name) != "X-a" || string(c.Trailers[0].Value) != "b" ||
		string(c.Trailers[1].Name) != "x-C" || len(c.Trailers[1].Value) != 0 {
		t.Errorf("%q", c.Trailers)
	}
}

// TestChunksAllocateNothing when they are used again.
func TestChunksAllocateNothing(t *testing.T) {
	var c Chunks
	body := []byte("5;a=b\r\nhello\r\n0\r\nX-A: b\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		c.Reset()
		for b := body; ; {
			_, n, err := c.Next(b)
			if err != nil {
				if err != io.EOF {
					t.Fatal(err)
				}
				return
			}
			b = b[n:]
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzChunks holds bodies that are read against net/http, which must read the same content and trailers.
func FuzzChunks(f *testing.F) {
	for _, c := range corpus.Chunks() {
		f.Add([]byte(c.Body), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint16) {
		var c, cut Chunks
		content, taken, err := readChunks(t, &c, b, 0)
		if len(b) > 0 {
			again, takenAgain, errAgain := readChunks(t, &cut, b, int(at)%len(b))
			if !bytes.Equal(again, content) || takenAgain != taken || errAgain != err {
				t.Fatalf("%q %d %v at once, and %q %d %v: %q", content, taken, err, again, takenAgain, errAgain, b)
			}
		}
		if err != io.EOF {
			return
		}
		from := bufio.NewReader(io.MultiReader(bytes.NewReader([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")), bytes.NewReader(b)))
		std, err := http.ReadRequest(from)
		if err != nil {
			t.Fatal(err)
		}
		stdContent, err := io.ReadAll(std.Body)
		if err != nil {
			if excess := taken > 16<<10+2*len(content); excess {
				return // net/http bounds what is not content by how much content there is
			}
			t.Fatalf("net/http: %v: %q", err, b)
		}
		rest, _ := io.ReadAll(from)
		if !bytes.Equal(content, stdContent) || !bytes.Equal(rest, b[taken:]) {
			t.Errorf("%q and %q, %d bytes and %d are left: %q", content, stdContent, len(b)-taken, len(rest), b)
		}
		for _, field := range c.Trailers {
			found := false
			for _, v := range std.Trailer.Values(string(field.Name)) {
				found = found || v == string(field.Value)
			}
			if !found {
				t.Errorf("net/http has not the trailer %q: %q", field, b)
			}
		}
	})
}
