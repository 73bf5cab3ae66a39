package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parachute-proxy/parachute/internal/api"
)

// comments are the lines of a stream of events that are parts of none.
var comments = regexp.MustCompile(`(?m)^:.*\n`)

// eventEnds returns the offsets in b at which no event has begun that has not
// ended. It is the naive way to find them.
func eventEnds(b []byte) (ends []int) {
	for end := 1; end <= len(b); end++ {
		s := strings.ReplaceAll(string(b[:end]), "\r\n", "\n")
		s = strings.ReplaceAll(s, "\r", "\n")
		s = comments.ReplaceAllString(s, "")
		if strings.Trim(s, "\n") == "" || strings.HasSuffix(s, "\n\n") {
			ends = append(ends, end)
		}
	}
	return ends
}

func TestEventBordersAgreeWithNaiveParser(t *testing.T) {
	rnd := newRand(t)
	parts := []string{"\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\r\r", "data: x", "id: 1", ":", "x"}
	for range 2000 {
		var b []byte
		for range rnd.IntN(20) {
			b = append(b, parts[rnd.IntN(len(parts))]...)
		}
		longest := 1 + rnd.IntN(8)
		checkBorders(t, new(eventBorders), b, eventEnds(b), func() int { return 1 + rnd.IntN(longest) })
	}
}

func FuzzEventBorders(f *testing.F) {
	for _, s := range []string{"data: 1\n\n", "data: 1\r\n\r\ndata", "data: 1\r\rdata: 2\r\r\n", "\n\n\n", ":\n\r\n", ":\n", "data: 1\n:\n", ": x\r", "\r\n\r", "\ufeffdata\n\n"} {
		f.Add([]byte(s), uint8(len(s)))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		if len(b) > 500 {
			b = b[:500] // the naive way is a slow one
		}
		checkBorders(t, new(eventBorders), b, eventEnds(b), func() int { return 1 + int(piece) })
	})
}

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

func newScriptedStream(pieces ...string) (*scriptedBody, *endlessBody) {
	body := &scriptedBody{reads: make(chan string, len(pieces)+1), aborted: make(chan struct{})}
	for _, p := range pieces {
		body.reads <- p
	}
	return body, &endlessBody{body: body, abort: func() { close(body.aborted) }, borders: &eventBorders{}}
}

func TestEventStreamEndsBetweenEvents(t *testing.T) {
	rnd := newRand(t)
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
	if err := receive(t, done, "the end of the stream"); err != io.EOF {
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
	if err := receive(t, done, "the cut"); err == nil || err == io.EOF {
		t.Errorf("the stream ends with %v: it looks complete", err)
	}
}

func TestCompressedEventStreamEndsWhereItWasFlushed(t *testing.T) {
	_, stream := newScriptedStream("\x1f\x8b\x08 no line ends here")
	stream.borders = anyBorder{}
	p := make([]byte, 100)
	if n, err := stream.Read(p); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	stream.closePolitely()
	if n, err := stream.Read(p); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v, want EOF", n, err)
	}
}

// TestEventStreamDoesNotHoldADeploy is about a client that would stay for ever.
func TestEventStreamDoesNotHoldADeploy(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{"text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream"} {
		e := newTestEngine(t)
		old := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			_, _ = io.WriteString(w, "id: 1\ndata: x\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		e.deploy(requestFor("app", old))
		resp, err := e.client.Do(e.request("GET", "h", "/events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		events := bufio.NewReader(resp.Body)
		for range 3 { // it is live: this arrives while the app goes on
			if _, err := events.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		req := requestFor("app", startApp(t, "new"))
		req.StreamTimeout = ms(0)
		d := e.start(req)
		if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
			t.Errorf("%s: after the last event: %q, %v, want a proper end", mediaType, rest, err)
		}
		status, err := wait(t, d)
		if err != nil || len(status.Drained) != 1 || status.Drained[0].Streams != 1 || status.Drained[0].CutStreams != 0 {
			t.Errorf("%s: drained %+v, %v, want one stream and none cut", mediaType, status.Drained, err)
		}
	}
}

// TestStreamsThatCannotEndPolitelyAreCutAndTold is about an app that never
// finishes its event.
func TestStreamsThatCannotEndPolitelyAreCutAndTold(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: half an ev")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})))
	resp, err := e.client.Do(e.request("GET", "h", "/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, len("data: half"))); err != nil {
		t.Fatal(err) // before the first byte would be a border, too
	}
	req := requestFor("app", startApp(t, "new"))
	req.StreamTimeout = ms(0)
	d := e.start(req)
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the answer looks complete: %q", rest)
	}
	status, err := wait(t, d)
	wantCode(t, err, api.CodeDrainTimeout)
	if status.State != api.StateDone || status.Drained[0].CutStreams != 1 {
		t.Errorf("state %s, drained %+v, want done with one stream cut", status.State, status.Drained)
	}
}
