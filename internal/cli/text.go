package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// printError prints what happened, the outcome of health checks, and the way out.
func (e *Env) printError(err error) {
	w := e.Err
	failure, ok := errors.AsType[*api.Error](err)
	if !ok {
		fmt.Fprintf(w, "error: %s\n", err)
		return
	}
	fmt.Fprintf(w, "error: %s\n", e.named(failure.Message))
	for _, r := range failure.Details {
		if !r.Healthy {
			fmt.Fprintf(w, "  GET %s   %s\n", r.URL, FailuresOf(r))
		}
	}
	if failure.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", e.named(failure.Hint))
	}
}

// WarnOfCut tells of what had to be cut once outcome had come true, if anything had to be:
// that is not a failure, but the person who drains should know.
func (e *Env) WarnOfCut(outcome string, cut *api.Cut) {
	if cut == nil {
		return
	}
	e.note(fmt.Sprintf("warning: %s, but %s", outcome, cut))
	e.note("  hint: raise --drain-timeout if requests need longer, or --stream-timeout for streams; --fail-on-cut makes this exit code 7")
}

// FailuresOf tells the failures of the health checks of a target in their order, in one line.
func FailuresOf(r api.ProbeReport) string {
	if len(r.Failures) == 0 {
		return "no check was finished"
	}
	var all []string
	for _, f := range r.Failures {
		all = append(all, fmt.Sprintf("%s (%s)", f.Reason, times(f.Count)))
	}
	return strings.Join(all, ", then ")
}

// someOf writes a list in short.
func someOf(all []string, separator string) string {
	const shown = 3
	if len(all) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], separator), len(all)-shown)
	}
	return strings.Join(all, separator)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// seconds writes a duration as people read it.
func seconds(d api.Seconds) string {
	t := time.Duration(d)
	switch {
	case t < time.Millisecond:
		return fmt.Sprintf("%d µs", t.Microseconds())
	case t < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(t)/float64(time.Millisecond))
	case t < time.Second:
		return fmt.Sprintf("%d ms", t.Milliseconds())
	case t < time.Minute:
		return fmt.Sprintf("%.1fs", t.Seconds())
	}
	return t.Round(time.Second).String()
}
