package main

import (
	"bufio"
	"io"
	"net/http"
	"testing"
)

// openEvents starts reading an event stream.
func openEvents(t *testing.T, client *http.Client, url, lastEventID string) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("content type %q", got)
	}
	return bufio.NewReader(resp.Body)
}

// readEvent returns one event, up to and including its empty line.
func readEvent(t *testing.T, events *bufio.Reader) string {
	t.Helper()
	var event string
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, event+line)
		}
		event += line
		if line == "\n" {
			return event
		}
	}
}

const eventData = "data: {\"instance\":\"web-1\",\"version\":\"v7\"}\n\n"

func TestFirstEventComesAtOnce(t *testing.T) {
	_, srv := start(t, options{})
	events := openEvents(t, srv.Client(), srv.URL+"/sse?every=1m", "")
	if got := readEvent(t, events); got != "id: 1\n"+eventData {
		t.Errorf("got %q", got)
	}
}

func TestEventsContinueTheirNumbering(t *testing.T) {
	_, srv := start(t, options{})
	events := openEvents(t, srv.Client(), srv.URL+"/sse?every=10ms", "41")
	for _, id := range []string{"42", "43", "44"} {
		if got := readEvent(t, events); got != "id: "+id+"\n"+eventData {
			t.Errorf("got %q", got)
		}
	}
}

func TestEventsEndBetweenTwo(t *testing.T) {
	a, srv := start(t, options{})
	events := openEvents(t, srv.Client(), srv.URL+"/sse?every=1m", "")
	readEvent(t, events)
	a.endStreams()
	if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
		t.Errorf("got %q and %v, want a clean end", rest, err)
	}
}
