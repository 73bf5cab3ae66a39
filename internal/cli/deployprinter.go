package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// deployPrinter shows a deploy as it goes.
type deployPrinter interface {
	// Event shows an event of the deployment.
	Event(api.Event) error
	// End is called when no more events come, also after a failure.
	End()
	// Result prints the outcome of a deploy that succeeded.
	Result(api.DeploymentStatus) error
}

// newDeployPrinter returns the printer for a deploy: JSON on standard output, or text, with
// the progress on standard error; quiet prints nothing but errors. A forced deploy checks
// no targets.
func newDeployPrinter(env *Env, output OutputFormat, quiet, forced bool) deployPrinter {
	switch {
	case output == outputJSON:
		return &jsonPrinter{encoder: json.NewEncoder(env.Out), quiet: quiet}
	case quiet:
		return silentPrinter{}
	}
	p := newTextPrinter(env)
	p.forced = forced
	return p
}

// silentPrinter prints nothing: errors are printed where the command ends.
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

// newTextPrinter returns a printer that knows nothing of what it prints.
func newTextPrinter(env *Env) *textPrinter {
	p := &textPrinter{out: env.Out, progress: env.Err, style: env.Err.style, named: env.named}
	if env.Err.Terminal {
		p.live = &liveLine{w: env.Err}
	}
	return p
}

// textPrinter prints progress for people.
type textPrinter struct {
	out      io.Writer
	progress io.Writer
	style    style
	// named has a text name commands as they are called.
	named func(string) string
	// forced says that no target is checked.
	forced bool
	// tried says that the deploy asks for more than a switch.
	tried bool
	// limits are those of the drain, nil if they are not known.
	limits *api.DrainLimits
	// live is the line that changes, on a terminal; nil elsewhere.
	live *liveLine
	// targets are those of the new release.
	targets []string
	// hint is the last that was shown.
	hint string
	// drainSince is when the drain has begun.
	drainSince time.Time
	// failures is how many failures of a release that is judged were told last.
	failures int64
	// slowStart says that the release is in its slow start.
	slowStart bool
	// draining is what the last drain line said, so that it is said once.
	draining string
}

func (p *textPrinter) Event(ev api.Event) error {
	switch ev.Kind {
	case api.EventAccepted:
		p.targets = ev.Targets
		if p.forced {
			p.now("not checking " + strings.Join(ev.Targets, ", "))
		} else {
			p.now("waiting for " + strings.Join(ev.Targets, ", "))
		}
	case api.EventProbeFailed:
		p.probeFailed(ev)
	case api.EventHealthy:
		p.done(ev.Target+" healthy", fmt.Sprintf("%s (%s)", api.Count(ev.Probe.Probes, "probe"), seconds(ev.Probe.Elapsed)))
	case api.EventWarmed, api.EventSmoked:
		p.visited(ev)
	case api.EventCertifying:
		p.now("getting the certificate of " + ev.Host)
	case api.EventCertified:
		p.done("certificate "+ev.Host, "valid until "+ev.Certificate.NotAfter.Format(time.DateOnly))
	case api.EventFleet:
		p.fleetStep(*ev.Fleet)
	case api.EventSwitched:
		step := fmt.Sprintf("switched to v%d", ev.Release)
		if ev.Previous > 0 {
			step = fmt.Sprintf("switched v%d -> v%d", ev.Previous, ev.Release)
		}
		p.done(step, "("+seconds(ev.SwitchTime)+")")
		if ev.Previous == 0 && p.tried {
			p.line("   " + p.style.dim("it is the first release, so it serves all at once, and there is none to go back to"))
		}
		for _, change := range ev.Changes {
			p.line("   " + p.style.dim("changed "+change))
		}
		for _, taken := range ev.TakenOver {
			p.line("   " + p.style.dim("took over "+taken.String()))
		}
		for _, warning := range ev.Warnings {
			p.line(p.style.red("warning: ") + WithFlags(warning))
		}
	case api.EventRollout:
		p.rollout(*ev.Rollout)
	case api.EventJudged:
		p.judged(*ev.Rollout)
	case api.EventPromoted:
		switch {
		case ev.Reason != "":
			p.line(fmt.Sprintf(" - v%d stays, although it could not be judged: %s", ev.Release, ev.Reason))
		case !p.slowStart: // which judges nothing
			p.done(fmt.Sprintf("v%d is trusted", ev.Release), "")
		}
	case api.EventReverted:
		p.line(fmt.Sprintf(" %s v%d is taken back: %s", p.style.red("✘"), ev.Release, ev.Reason))
	case api.EventDraining:
		if p.drainSince.IsZero() {
			p.drainSince = ev.Time
		}
		if ev.DrainTimeout != nil && ev.StreamTimeout != nil {
			p.limits = &api.DrainLimits{Requests: time.Duration(*ev.DrainTimeout), Streams: time.Duration(*ev.StreamTimeout)}
		}
		p.drainGoesOn(ev.Release, ev.Requests, ev.Streams)
	case api.EventDrained:
		p.drained(*ev.Drain)
	}
	return nil
}

// rollout shows what a rollout is at.
func (p *textPrinter) rollout(r api.RolloutStatus) {
	if r.Phase != api.PhaseWatch && r.Waiting == "" && r.Phase != api.PhaseSlowStart {
		step := ""
		if r.Steps > 1 {
			step = fmt.Sprintf("step %d of %d", r.Step, r.Steps)
		}
		p.done(fmt.Sprintf("v%d gets %s of the clients", r.Release, r.Weight), step)
	}
	p.failures, p.slowStart = r.Evidence.Failures, r.Phase == api.PhaseSlowStart
	if r.Phase != api.PhaseCanary || r.RemainingSeconds != nil || r.Waiting != "" {
		p.now(describeRollout(r))
	}
}

// judged shows what a release is judged by: always in a line that changes, elsewhere when
// there is something new.
func (p *textPrinter) judged(r api.RolloutStatus) {
	if p.live == nil && r.Evidence.Failures == p.failures {
		return
	}
	p.failures = r.Evidence.Failures
	left := ""
	switch {
	case r.Waiting != "":
		left = "; waits: " + r.Waiting
	case r.RemainingSeconds != nil:
		left = "; " + leftOf(*r.RemainingSeconds) + " left"
	}
	if r.Phase == api.PhaseSlowStart {
		p.now(describeRollout(r))
		return
	}
	p.now(describeEvidence(r) + left)
}

// probeFailed shows why a target is not ready. What comes with a hint does not mend itself,
// so it stays to be read while the deploy waits. Several targets often need the same hint.
func (p *textPrinter) probeFailed(ev api.Event) {
	if ev.Hint != "" {
		p.line(fmt.Sprintf(" - %s is still not ready: %s", ev.Target, ev.Reason))
		if ev.Hint != p.hint {
			p.hint = ev.Hint
			p.line("   " + p.style.dim("hint: "+WithFlags(ev.Hint)))
		}
		if p.live == nil {
			return // which has said so
		}
	}
	p.now(fmt.Sprintf("%s is not ready: %s", ev.Target, ev.Reason))
}

// visited shows what the pages of a new release have answered.
func (p *textPrinter) visited(ev api.Event) {
	what := "warmed up"
	if ev.Kind == api.EventSmoked {
		what = "smoke test"
	}
	for _, v := range ev.Visits {
		if v.OK() {
			p.done(fmt.Sprintf("%s %s", what, v.Target), fmt.Sprintf("%s (%s)", v, seconds(v.Elapsed)))
			continue
		}
		p.line(fmt.Sprintf(" %s %-32s %s", p.style.red("✘"), fmt.Sprintf("%s %s", what, v.Target), v))
	}
}

// fleetStep shows how far a proxy of the fleet has come.
func (p *textPrinter) fleetStep(s api.FleetStep) {
	switch s.Phase {
	case api.FleetRefused, api.FleetFailed, api.FleetMissing:
		p.line(fmt.Sprintf(" %s %-32s %s", p.style.red("✘"), s.Proxy+" "+string(s.Phase), s.Reason))
	default:
		text := ""
		if s.Drain != nil && !s.Drain.Clean() {
			text = api.CutOf(*s.Drain).String()
		}
		p.done(s.Proxy+" "+string(s.Phase), text)
	}
}

// drainGoesOn shows what a drain waits for, and for how long.
func (p *textPrinter) drainGoesOn(release, requests, streams int) {
	if requests+streams == 0 {
		return
	}
	text := fmt.Sprintf("draining v%d: %s, %s left", release, api.Count(requests, "request"), api.Count(streams, "stream"))
	if p.limits != nil {
		var until []string
		at := func(limit time.Duration) string { return p.drainSince.Add(limit).Local().Format(time.TimeOnly) }
		if requests > 0 {
			until = append(until, "requests have until "+at(p.limits.Requests)+" (--drain-timeout)")
		}
		if streams > 0 {
			until = append(until, "streams are closed by "+at(p.limits.Streams)+" (--stream-timeout)")
		}
		text += "; " + strings.Join(until, ", ")
	}
	if text != p.draining {
		p.draining = text
		p.now(text)
	}
}

// drained shows how a drain has ended. A target that the new release has, too, is not
// named: who reads that it was drained takes it away.
func (p *textPrinter) drained(d api.Drain) {
	targets := slices.DeleteFunc(slices.Clone(d.Targets), func(t string) bool { return slices.Contains(p.targets, t) })
	what := strings.Join(targets, ", ")
	if len(targets) == 0 {
		what = strings.TrimSpace(fmt.Sprintf("%s v%d", d.Service, d.Release))
	}
	if !d.Clean() {
		p.line(fmt.Sprintf(" %s %-32s %s, %s (%s)", p.style.red("✘"), "cut "+what,
			api.Count(d.CutRequests, "request"), api.Count(d.CutStreams, "stream"), seconds(d.Elapsed)))
	} else {
		p.done("drained "+what, fmt.Sprintf("%s, %s (%s)", api.Count(d.Requests, "request"), api.Count(d.Streams, "stream"), seconds(d.Elapsed)))
	}
	if p.live != nil {
		p.now("waiting for older releases that drain") // there may be some
	}
}

func (p *textPrinter) End() {
	if p.live != nil {
		p.live.stop()
	}
}

func (p *textPrinter) Result(s api.DeploymentStatus) error {
	if !s.State.Final() {
		fmt.Fprintf(p.progress, " - it goes on by itself; wait for it with: %s %s\n", p.named("parachute wait"), s.ID)
		_, err := fmt.Fprintf(p.out, "%s accepted, deployment %s\n", s.Service, s.ID)
		return err
	}
	if missing := withoutCertificate(s.Certificates); len(missing) > 0 {
		fmt.Fprintf(p.progress, " - no certificate yet for %s; until there is one, plain HTTP is served; see: %s %s\n",
			someOf(missing, ", "), p.named("parachute status"), s.Service)
	}
	if s.Kept > 0 {
		fmt.Fprintln(p.progress, keptNote(p.named, s.Service, s.Kept))
	}
	_, err := fmt.Fprintln(p.out, OutcomeOf(s))
	return err
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
