package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// sse sends server-sent events (WHATWG HTML, section 9.2), the first one at
// once, then one `?every=`, until the client or the application goes away. A
// client that reconnects with Last-Event-ID continues its numbering.
func (a *app) sse(w http.ResponseWriter, r *http.Request) {
	every, err := durationParam(r, "every", 500*time.Millisecond, 10*time.Millisecond, time.Minute)
	if err != nil {
		a.answer(w, http.StatusBadRequest, err.Error())
		return
	}
	data, err := json.Marshal(a.identity())
	if err != nil {
		a.answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")

	last, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // none, or none of ours: 0
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	flusher := http.NewResponseController(w)
	for {
		// The stream ends only between events, so a client never sees half of
		// one that it would not see again after reconnecting.
		last++
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", last, data)
		if flusher.Flush() != nil {
			return
		}
		select {
		case <-ticks.C:
		case <-r.Context().Done():
			return
		case <-a.stopping.Done():
			return
		}
	}
}
