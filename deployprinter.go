package parachute

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// deployPrinter shows a deploy as it goes.
type deployPrinter interface {
	event(api.Event) error
	// end is called when no more events come, also after a failure.
	end()
	// result prints the outcome of a deploy that succeeded.
	result(api.DeploymentStatus) error
}

func newDeployPrinter(cmd *cobra.Command, output outputFormat, quiet bool, req api.DeployRequest) deployPrinter {
	switch {
	case output == outputJSON:
		return &jsonPrinter{encoder: json.NewEncoder(os.Stdout), quiet: quiet}
	case quiet:
		return silentPrinter{}
	}
	p := &textPrinter{out: os.Stdout, progress: os.Stderr, style: styleOf(cmd, os.Stderr), req: req}
	if isTerminal(os.Stderr) {
		p.live = &liveLine{w: os.Stderr, style: p.style}
	}
	return p
}

// silentPrinter prints nothing: errors are printed by whoever ends the command.
type silentPrinter struct{}

func (silentPrinter) event(api.Event) error             { return nil }
func (silentPrinter) end()                              {}
func (silentPrinter) result(api.DeploymentStatus) error { return nil }

// jsonPrinter prints a line of JSON for each event, and the deployment at the
// end.
type jsonPrinter struct {
	encoder *json.Encoder
	quiet   bool
}

func (*jsonPrinter) end() {}

func (p *jsonPrinter) event(ev api.Event) error {
	if ev.Kind == api.EventEnded {
		if ev.Result.Error != nil {
			return p.encoder.Encode(ev.Result)
		}
		return nil // result prints it
	}
	if p.quiet {
		return nil
	}
	return p.encoder.Encode(ev)
}

func (p *jsonPrinter) result(s api.DeploymentStatus) error { return p.encoder.Encode(s) }

// textPrinter prints progress for people.
type textPrinter struct {
	out      io.Writer
	progress io.Writer
	style    style
	// req is what was asked for.
	req api.DeployRequest
	// live is the line that changes, on a terminal; nil elsewhere.
	live *liveLine
	// draining is what the last drain line said, so that it is said once.
	draining string
}

func (p *textPrinter) event(ev api.Event) error {
	switch ev.Kind {
	case api.EventAccepted:
		if p.req.Force {
			p.now("not checking " + strings.Join(ev.Targets, ", "))
		} else {
			p.now("waiting for " + strings.Join(ev.Targets, ", "))
		}
	case api.EventProbeFailed:
		p.now(fmt.Sprintf("%s is not ready: %s", ev.Target, ev.Reason))
	case api.EventHealthy:
		p.done(ev.Target+" healthy", fmt.Sprintf("%s (%s)", api.Count(ev.Probe.Probes, "probe"), seconds(ev.Probe.Elapsed)))
	case api.EventCertifying:
		p.now("getting the certificate of " + ev.Host)
	case api.EventCertified:
		p.done("certificate "+ev.Host, "valid until "+ev.Certificate.NotAfter.Format(time.DateOnly))
	case api.EventSwitched:
		step := fmt.Sprintf("switched to v%d", ev.Release)
		if ev.Previous > 0 {
			step = fmt.Sprintf("switched v%d -> v%d", ev.Previous, ev.Release)
		}
		p.done(step, "("+seconds(ev.SwitchTime)+")")
		for _, change := range ev.Changes {
			p.line("   " + p.style.dim("changed "+change))
		}
	case api.EventDraining:
		if ev.Requests+ev.Streams == 0 {
			return nil
		}
		if line := fmt.Sprintf("draining v%d: %s, %s left", ev.Release, api.Count(ev.Requests, "request"), api.Count(ev.Streams, "stream")); line != p.draining {
			p.draining = line
			p.now(line)
		}
	case api.EventDrained:
		d := ev.Drain
		detail := fmt.Sprintf("%s, %s (%s)", api.Count(d.Requests, "request"), api.Count(d.Streams, "stream"), seconds(d.Elapsed))
		if d.CutRequests+d.CutStreams > 0 {
			p.line(fmt.Sprintf(" %s %-32s %s", p.style.red("✘"), "cut "+strings.Join(d.Targets, ", "),
				fmt.Sprintf("%s, %s (%s)", api.Count(d.CutRequests, "request"), api.Count(d.CutStreams, "stream"), seconds(d.Elapsed))))
			return nil
		}
		p.done("drained "+strings.Join(d.Targets, ", "), detail)
	}
	return nil
}

func (p *textPrinter) end() {
	if p.live != nil {
		p.live.stop()
	}
}

func (p *textPrinter) result(s api.DeploymentStatus) error {
	if !s.State.Final() {
		fmt.Fprintf(p.progress, " - it goes on by itself; see: parachute status %s\n", s.Service)
		_, err := fmt.Fprintf(p.out, "%s accepted, deployment %s\n", s.Service, s.ID)
		return err
	}
	if missing := withoutCertificate(s.Certificates); len(missing) > 0 && p.req.TLS.OnDemandURL == "" {
		fmt.Fprintf(p.progress, " - no certificate yet for %s; until there is one, plain HTTP is served; see: parachute status %s\n",
			someOf(missing, ", "), s.Service)
	}
	_, err := fmt.Fprintln(p.out, outcome(s))
	return err
}

// outcome says what serves now that a deployment is done: by then, it need not be
// its release any more.
func outcome(s api.DeploymentStatus) string {
	switch s.Serving {
	case s.Release:
		return fmt.Sprintf("%s v%d is live", s.Service, s.Release)
	case 0:
		return fmt.Sprintf("%s v%d was live; the service has been removed since", s.Service, s.Release)
	}
	return fmt.Sprintf("%s v%d was live; v%d has replaced it since", s.Service, s.Release, s.Serving)
}

// done prints a step that has been completed.
func (p *textPrinter) done(step, detail string) {
	p.line(fmt.Sprintf(" %s %-32s %s", p.style.green("✔"), step, p.style.dim(detail)))
}

// now prints what is going on: on a terminal in the line that changes, elsewhere
// as a line of its own.
func (p *textPrinter) now(text string) {
	if p.live != nil {
		p.live.set(text)
		return
	}
	fmt.Fprintf(p.progress, " - %s\n", text)
}

func (p *textPrinter) line(text string) {
	if p.live != nil {
		p.live.print(text)
		return
	}
	fmt.Fprintln(p.progress, text)
}

// liveLine is the last line of a terminal, with a spinner and a clock. Lines that
// stay are printed above it.
type liveLine struct {
	w     io.Writer
	style style

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

// draw paints the line. mu must be held.
func (l *liveLine) draw() {
	if l.text == "" {
		return
	}
	clock := seconds(api.Duration(time.Since(l.since).Truncate(100 * time.Millisecond)))
	fmt.Fprintf(l.w, "%s %c %s %s", eraseLine, spinner[l.frame%len(spinner)], l.text, l.style.dim("("+clock+")"))
}
