package forward

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parachute-proxy/parachute/internal/boundary"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// scriptedBody is a body whose reads a test answers one by one.
type scriptedBody struct {
	reads chan string
	// aborted ends a read that is waiting.
	aborted chan struct{}
}

func (b *scriptedBody) Read(p []byte) (int, error) {
	select {
	case s := <-b.reads:
		return copy(p, s), nil
	case <-b.aborted:
		return 0, errors.New("aborted")
	}
}

func (b *scriptedBody) Close() error { return nil }

func newScriptedStream(pieces ...string) (*scriptedBody, *streamBody) {
	body := &scriptedBody{reads: make(chan string, len(pieces)+1), aborted: make(chan struct{})}
	for _, p := range pieces {
		body.reads <- p
	}
	return body, &streamBody{body: body, abort: func() { close(body.aborted) }, boundaries: &boundary.Events{}}
}

func TestEventStreamEndsBetweenEvents(t *testing.T) {
	rnd := testkit.NewRand(t)
	for _, lineEnd := range []string{"\n", "\r\n", "\r"} {
		for range 300 {
			var all strings.Builder
			for i := range 20 {
				fmt.Fprintf(&all, "id: %d%sdata: x%s%s", i, lineEnd, lineEnd, lineEnd)
			}
			var pieces []string
			for rest := all.String(); rest != ""; {
				n := min(1+rnd.IntN(20), len(rest))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			_, stream := newScriptedStream(pieces...)
			var got strings.Builder
			closeAt := rnd.IntN(len(pieces))
			p := make([]byte, 100)
			for i := 0; ; i++ {
				if i == closeAt {
					stream.closePolitely()
				}
				n, err := stream.Read(p)
				got.Write(p[:n])
				if err == io.EOF {
					break
				}
				if err != nil || i > len(pieces) {
					t.Fatalf("read %d: %v", i, err)
				}
			}
			events := got.String()
			if !strings.HasPrefix(all.String(), events) || events != "" && !strings.HasSuffix(events, lineEnd+lineEnd) {
				// With CRLF, the last line feed may be missing: a bare CR ends a line too.
				if lineEnd != "\r\n" || !strings.HasSuffix(events, "\r\n\r") {
					t.Fatalf("ended with %q", events[max(0, len(events)-30):])
				}
			}
		}
	}
}

// TestEventThatBeginsDuringTheCloseIsNotTorn covers bytes that arrive when the
// close has been decided upon but a read is still waiting.
func TestEventThatBeginsDuringTheCloseIsNotTorn(t *testing.T) {
	for arriving, want := range map[string]string{
		"data: 2":                       "",
		"data: 2\n\n":                   "data: 2\n\n",
		"data: 2\n\ndata: 3":            "data: 2\n\n",
		"data: 2\n\ndata: 3\n\n: hello": "data: 2\n\ndata: 3\n\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			body, stream := newScriptedStream()
			p := make([]byte, 100)
			var n int
			var err error
			go func() { n, err = stream.Read(p) }()
			synctest.Wait() // the read waits for the app
			stream.closing = true
			body.reads <- arriving
			synctest.Wait()
			if string(p[:n]) != want || err != io.EOF {
				t.Errorf("%q arrives: read %q, %v, want %q, EOF", arriving, p[:n], err, want)
			}
		})
	}
}

func TestIdleEventStreamEndsAtOnce(t *testing.T) {
	_, stream := newScriptedStream()
	done := make(chan error)
	go func() {
		_, err := stream.Read(make([]byte, 100))
		done <- err
	}()
	stream.closePolitely()
	if err := testkit.Receive(t, done, "the end of the stream"); err != io.EOF {
		t.Errorf("the stream ends with %v, want EOF", err)
	}
}

func TestEventStreamThatDoesNotEndItsEventIsCut(t *testing.T) {
	_, stream := newScriptedStream("data: half")
	p := make([]byte, 100)
	if _, err := stream.Read(p); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := stream.Read(p)
		done <- err
	}()
	stream.closePolitely()
	select {
	case err := <-done:
		t.Fatalf("the stream ends in the middle of an event, with %v", err)
	default:
	}
	stream.cut()
	if err := testkit.Receive(t, done, "the cut"); err == nil || err == io.EOF {
		t.Errorf("the stream ends with %v: it looks complete", err)
	}
}

func TestCompressedEventStreamEndsWhereItWasFlushed(t *testing.T) {
	_, stream := newScriptedStream("\x1f\x8b\x08 no line ends here")
	stream.boundaries = boundary.Anywhere{}
	p := make([]byte, 100)
	if n, err := stream.Read(p); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	stream.closePolitely()
	if n, err := stream.Read(p); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v, want EOF", n, err)
	}
}
