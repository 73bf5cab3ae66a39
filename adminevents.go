package parachute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// feedHeartbeat is the longest silence of the feed: a connection on which nothing is said
// for longer cannot be told from one that is broken.
const feedHeartbeat = 15 * time.Second

// followEvents writes what happens to services for as long as the caller listens: a line of
// JSON each, or server-sent events, of which a browser goes on behind the last that it has
// seen (Last-Event-ID).
func followEvents(e *proxy.Engine, w http.ResponseWriter, r *http.Request) {
	after := r.URL.Query().Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		after = last
	}
	reader, err := e.Feed(after)
	if err != nil {
		writeError(w, err, nil)
		return
	}
	outlastReadTimeout(w)
	write, heartbeat, media := writeLine, "\n", api.MediaNDJSON
	if strings.Contains(r.Header.Get("Accept"), api.MediaSSE) {
		write, heartbeat, media = writeServerSentEvent, ": nothing has happened\n\n", api.MediaSSE
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	controller := http.NewResponseController(w)
	if controller.Flush() != nil { // the caller is to know that it is heard
		return
	}
	// The process that takes over from this one knows more.
	listening, stop := thisProcess.untilHandover(r.Context())
	defer stop()
	for listening.Err() == nil {
		ctx, cancel := context.WithTimeout(listening, feedHeartbeat)
		events, err := reader.Next(ctx)
		cancel()
		switch {
		case errors.Is(err, proxy.ErrRetired):
			return
		case listening.Err() != nil:
			return
		case err != nil:
			_, err = io.WriteString(w, heartbeat)
		}
		for _, ev := range events {
			err = errors.Join(err, write(w, ev))
		}
		if err != nil || controller.Flush() != nil {
			return
		}
	}
}

func writeLine(w io.Writer, ev api.FeedEvent) error { return json.NewEncoder(w).Encode(ev) }

func writeServerSentEvent(w io.Writer, ev api.FeedEvent) error {
	data, err := json.Marshal(ev.Data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", ev.ID, ev.Data.Kind, data)
	return err
}
