package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// liveLine is the last line of a terminal, with a spinner and a clock. Lines that
// stay are printed above it.
type liveLine struct {
	w *Stream

	// mu guards what follows, and writes to w.
	mu    sync.Mutex
	text  string
	since time.Time
	frame int
	quit  chan struct{}
}

const eraseLine = "\r\x1b[K"

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func (l *liveLine) set(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = text
	if l.quit == nil {
		l.since = time.Now()
		l.quit = make(chan struct{})
		go l.spin(l.quit)
	}
	l.draw()
}

func (l *liveLine) print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprint(l.w, eraseLine, line, "\n")
	l.text = ""
}

func (l *liveLine) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.quit != nil {
		close(l.quit)
		l.quit = nil
	}
	fmt.Fprint(l.w, eraseLine)
}

func (l *liveLine) spin(quit <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			l.mu.Lock()
			if l.quit != nil {
				l.frame++
				l.draw()
			}
			l.mu.Unlock()
		}
	}
}

// draw paints the line, no longer than the terminal is wide: what is wrapped cannot be
// erased. mu must be held.
func (l *liveLine) draw() {
	if l.text == "" {
		return
	}
	clock := "(" + seconds(api.Seconds(time.Since(l.since).Truncate(100*time.Millisecond))) + ")"
	text := l.text
	if columns, _ := l.w.size(); columns > 0 {
		const spaces = 4 // around the spinner, before the clock, and for the cursor
		text = shorten(text, max(1, columns-spaces-1-len(clock)))
	}
	fmt.Fprintf(l.w, "%s %c %s %s", eraseLine, spinner[l.frame%len(spinner)], text, l.w.dim(clock))
}
