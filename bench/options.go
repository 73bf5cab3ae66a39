package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Options are what the command line says.
type Options struct {
	Run       *regexp.Regexp // scenarios, by name; nil: all, or all that are quick
	Peers     *regexp.Regexp // contestants, by name
	Rounds    int
	Duration  time.Duration // of one measurement
	WarmUp    time.Duration // for each contestant, before the first round
	Settle    time.Duration // between the start of a load and the measurement
	IdlePause time.Duration // before memory is measured
	RestPause time.Duration // the same, after a lot of work
	Quick     bool
	Seed      uint64 // of the order of contestants
	Parachute string // path of the binary
	Baseline  string // path of another binary, or empty
	// RunFlags and BaselineFlags are flags of run for the two of them, with spaces between.
	// Floor has the program of the directory floor take part.
	Floor         bool
	RunFlags      string
	BaselineFlags string

	JSON     string // path of a file to write, or empty
	Markdown string // path of a file to write, or empty
	From     string // path of a JSON report to show instead of measuring, or empty
	Profiles string // directory for CPU profiles of parachute, or empty
	List     bool   // list the scenarios and do nothing
}

// parseOptions parses the command line.
func parseOptions(args []string) (Options, error) {
	o := Options{Settle: 200 * time.Millisecond, WarmUp: time.Second, IdlePause: idlePause, RestPause: restPause}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	runPattern := flags.String("run", "", "measure only scenarios whose whole name matches this `regexp`")
	peerPattern := flags.String("peers", "", "measure only proxies whose name matches this `regexp`; parachute always takes part")
	flags.IntVar(&o.Rounds, "rounds", 5, "how many samples to take of everything; tables have their medians")
	flags.DurationVar(&o.Duration, "duration", 2*time.Second, "how long to measure for a sample")
	flags.BoolVar(&o.Quick, "quick", false, "see whether everything works: few scenarios, one short round, numbers of no use")
	flags.Uint64Var(&o.Seed, "seed", rand.Uint64N(1e6), "seed of the order of the proxies within a round")
	flags.StringVar(&o.Parachute, "parachute", "../bin/parachute", "the parachute `binary`")
	flags.StringVar(&o.Baseline, "baseline", "", "another parachute `binary` to measure as well, as parachute-old")
	flags.BoolVar(&o.Floor, "floor", false, "measure as well the least that a program with Go's servers needs for a small request (see floor/main.go)")
	flags.StringVar(&o.RunFlags, "run-flags", "", "more `flags` that parachute is run with, such as '--edge on'")
	flags.StringVar(&o.BaselineFlags, "baseline-flags", "", "more `flags` that parachute-old is run with")
	flags.StringVar(&o.JSON, "json", "", "write all samples to this `file`")
	flags.StringVar(&o.Markdown, "markdown", "", "write the report to this `file`")
	flags.StringVar(&o.From, "from", "", "measure nothing, and report what -json has written to this `file`")
	flags.StringVar(&o.Profiles, "profiles", "", "write a CPU profile of parachute for each scenario to this `directory`")
	flags.BoolVar(&o.List, "list", false, "list the scenarios")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%s is too many; all arguments are flags", strings.Join(flags.Args(), " "))
	}
	var err error
	if *runPattern != "" {
		// The whole name, so that services/1 is not services/100, too.
		if o.Run, err = regexp.Compile("^(?:" + *runPattern + ")$"); err != nil {
			return o, fmt.Errorf("parsing -run: %w", err)
		}
	}
	if o.Peers, err = regexp.Compile(*peerPattern); err != nil {
		return o, fmt.Errorf("parsing -peers: %w", err)
	}
	if o.Quick {
		o.Rounds, o.Duration = 1, 200*time.Millisecond
		o.WarmUp, o.Settle, o.IdlePause, o.RestPause = 0, 50*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	}
	if o.Rounds < 1 || o.Duration <= 0 {
		return o, errors.New("-rounds and -duration have to be more than 0")
	}
	for _, path := range []*string{&o.Parachute, &o.Baseline} {
		if *path == "" || o.List || o.From != "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return o, err
		}
		if _, err := os.Stat(*path); err != nil {
			return o, fmt.Errorf("looking for parachute (`make build` builds it): %w", err)
		}
	}
	return o, nil
}

// scenarios returns those that are to be run.
func (o Options) scenarios() []*Scenario {
	var chosen []*Scenario
	for _, s := range scenarios {
		matches := !o.Quick || s.PartOfQuick
		if o.Run != nil { // chooses among all, even if it is to be quick
			matches = o.Run.MatchString(s.Name)
		}
		if matches {
			chosen = append(chosen, s)
		}
	}
	return chosen
}
