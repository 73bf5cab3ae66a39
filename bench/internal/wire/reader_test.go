package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Messages are the same however the network cuts them up.
func TestMessagesInARow(t *testing.T) {
	const messages = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" +
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\nTrailer: x\r\n\r\n" +
		"HTTP/1.1 404 Not Found\r\ncontent-length:0\r\nConnection: Close\r\n\r\n" +
		"HTTP/1.1 200 OK\r\n\r\nrest"
	sources := map[string]func() io.Reader{
		"whole":        func() io.Reader { return strings.NewReader(messages) },
		"byte by byte": func() io.Reader { return iotest.OneByteReader(strings.NewReader(messages)) },
		"in halves":    func() io.Reader { return iotest.HalfReader(strings.NewReader(messages)) },
		"data and EOF": func() io.Reader { return iotest.DataErrReader(strings.NewReader(messages)) },
	}
	for name, source := range sources {
		for _, size := range []int{70, 1 << 10} { // 70 is little more than the longest head
			r := NewReader(source(), size)

			h, err := r.Head()
			if err != nil || h.Status() != 200 || h.Length != 5 || h.Close {
				t.Fatalf("%s, %d: %+v, %v", name, size, h, err)
			}
			if err := r.Skip(h.Length); err != nil {
				t.Fatalf("%s, %d: %v", name, size, err)
			}

			if h, err = r.Head(); err != nil || h.Length != Chunked {
				t.Fatalf("%s, %d: %+v, %v", name, size, h, err)
			}
			if n, err := r.SkipChunked(); n != 6 || err != nil {
				t.Fatalf("%s, %d: %d bytes, %v", name, size, n, err)
			}

			if h, err = r.Head(); err != nil || h.Status() != 404 || h.Length != 0 || !h.Close {
				t.Fatalf("%s, %d: %+v, %v", name, size, h, err)
			}

			if h, err = r.Head(); err != nil || h.Length != Unknown {
				t.Fatalf("%s, %d: %+v, %v", name, size, h, err)
			}
			if n, err := r.SkipAll(); n != 4 || err != nil {
				t.Fatalf("%s, %d: %d bytes, %v", name, size, n, err)
			}
			if _, err := r.Head(); err != io.EOF {
				t.Fatalf("%s, %d: %v at the end", name, size, err)
			}
		}
	}
}

func TestRequest(t *testing.T) {
	r := NewReader(strings.NewReader("GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key:  abc= \r\n\r\n\x81\x00"), 1<<10)
	h, err := r.Head()
	if err != nil || string(h.Target()) != "/ws" || string(h.WebSocketKey) != "abc=" {
		t.Fatalf("%s %q, %v", h.Target(), h.WebSocketKey, err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || string(rest) != "\x81\x00" {
		t.Fatalf("%q, %v behind the head", rest, err)
	}
}

func TestBrokenMessages(t *testing.T) {
	for text, want := range map[string]error{
		"":                  io.EOF,
		"HTTP/1.1 200 OK\r": io.ErrUnexpectedEOF,
		"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 100): ErrHeadTooLong,
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n":      nil,
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":     nil,
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n":               nil,
	} {
		_, err := NewReader(strings.NewReader(text), 64).Head()
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBrokenBodies(t *testing.T) {
	if err := NewReader(strings.NewReader("abc"), 64).Skip(4); err != io.ErrUnexpectedEOF {
		t.Errorf("a body that is too short: %v", err)
	}
	for _, text := range []string{"", "5\r\nhel", "x\r\n", "-1\r\n", "1\r\nab\r\n0\r\n\r\n", "1\r\na\r\n", "0\r\n"} {
		if _, err := NewReader(strings.NewReader(text), 64).SkipChunked(); err == nil {
			t.Errorf("chunks %q: no error", text)
		}
	}
}
