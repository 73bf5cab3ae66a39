package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// DeployPrinter shows a deploy as it goes.
type DeployPrinter interface {
	// Event shows an event of the deployment.
	Event(api.Event) error
	// End is called when no more events come, also after a failure.
	End()
	// Result prints the outcome of a deploy that succeeded.
	Result(api.DeploymentStatus) error
}

// NewDeployPrinter returns the printer for a deploy of req: JSON on standard output, or
// text, with the progress on standard error; quiet prints nothing but errors.
func NewDeployPrinter(env *Env, output OutputFormat, quiet bool, req api.DeployRequest) DeployPrinter {
	switch {
	case output == outputJSON:
		return &jsonPrinter{encoder: json.NewEncoder(env.Out), quiet: quiet}
	case quiet:
		return silentPrinter{}
	}
	p := &textPrinter{out: env.Out, progress: env.Err, style: env.Err.style, named: env.named, req: req}
	if env.Err.Terminal {
		p.live = &liveLine{w: env.Err, style: p.style}
	}
	return p
}

// silentPrinter prints nothing: errors are printed by whoever ends the command.
type silentPrinter struct{}

func (silentPrinter) Event(api.Event) error             { return nil }
func (silentPrinter) End()                              {}
func (silentPrinter) Result(api.DeploymentStatus) error { return nil }

// jsonPrinter prints a line of JSON for each event, and the deployment at the
// end.
type jsonPrinter struct {
	encoder *json.Encoder
	quiet   bool
}

func (*jsonPrinter) End() {}

func (p *jsonPrinter) Event(ev api.Event) error {
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

func (p *jsonPrinter) Result(s api.DeploymentStatus) error { return p.encoder.Encode(s) }

// textPrinter prints progress for people.
type textPrinter struct {
	out      io.Writer
	progress io.Writer
	style    style
	// named has a text name commands as they are called.
	named func(string) string
	// req is what was asked for.
	req api.DeployRequest
	// live is the line that changes, on a terminal; nil elsewhere.
	live *liveLine
	// draining is what the last drain line said, so that it is said once.
	draining string
}

func (p *textPrinter) Event(ev api.Event) error {
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

func (p *textPrinter) End() {
	if p.live != nil {
		p.live.stop()
	}
}

func (p *textPrinter) Result(s api.DeploymentStatus) error {
	if !s.State.Final() {
		fmt.Fprintf(p.progress, " - it goes on by itself; see: %s %s\n", p.named("parachute status"), s.Service)
		_, err := fmt.Fprintf(p.out, "%s accepted, deployment %s\n", s.Service, s.ID)
		return err
	}
	if missing := withoutCertificate(s.Certificates); len(missing) > 0 && p.req.TLS.OnDemandURL == "" {
		fmt.Fprintf(p.progress, " - no certificate yet for %s; until there is one, plain HTTP is served; see: %s %s\n",
			someOf(missing, ", "), p.named("parachute status"), s.Service)
	}
	_, err := fmt.Fprintln(p.out, Outcome(s))
	return err
}

// Outcome says what serves now that a deployment is done: by then, it need not be
// its release any more.
func Outcome(s api.DeploymentStatus) string {
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
