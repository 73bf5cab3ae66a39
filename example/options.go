package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// options are the switches of the application, described in parseOptions.
type options struct {
	addr           string
	name           string
	version        string
	listenDelay    time.Duration
	bootDelay      time.Duration
	unhealthyAfter time.Duration
	stopTimeout    time.Duration
	refuseStop     bool
	checkHost      string
	failRate       float64
}

// parseOptions reads the environment, then the arguments, which win. Problems
// and help are written to output; the error is flag.ErrHelp after help.
func parseOptions(args []string, getenv func(string) string, output io.Writer) (options, error) {
	var o options
	hostname, _ := os.Hostname() // without one, --name is empty
	addr := ":3000"
	if port := getenv("PORT"); port != "" {
		addr = ":" + port
	}

	fs := flag.NewFlagSet("example", flag.ContinueOnError)
	fs.SetOutput(output)
	fs.StringVar(&o.addr, "addr", addr, "`address` to listen on: [host]:port or unix//path; PORT sets the port alone")
	fs.StringVar(&o.name, "name", hostname, "name of this instance")
	fs.StringVar(&o.version, "version", "1", "version of this instance")
	fs.DurationVar(&o.listenDelay, "listen-delay", 0, "do not even listen for this long")
	fs.DurationVar(&o.bootDelay, "boot-delay", 0, "then answer everything with 503 for this long")
	fs.DurationVar(&o.unhealthyAfter, "unhealthy-after", 0, "fail the health check once ready for this long (0: never)")
	fs.DurationVar(&o.stopTimeout, "stop-timeout", 10*time.Second, "how long a stop waits for requests and streams")
	fs.BoolVar(&o.refuseStop, "refuse-stop", false, "ignore SIGTERM")
	fs.Float64Var(&o.failRate, "fail-rate", 0, "answer 500 to this `share` of the requests for the page, from 0 to 1")
	fs.StringVar(&o.checkHost, "check-host", "", "answer 400 to requests for any other `host`")

	err := fromEnvironment(fs, getenv)
	if err == nil {
		err = fs.Parse(args)
		if err != nil {
			return o, err // the flag set has told why
		}
		err = o.validate(fs.Args())
	}
	if err != nil {
		fmt.Fprintln(output, "example:", err)
	}
	return o, err
}

// fromEnvironment sets every flag from the variable that bears its name in
// capitals, if there is one.
func fromEnvironment(fs *flag.FlagSet, getenv func(string) string) error {
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		key := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := getenv(key)
		if value == "" {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("invalid value %q for %s: %w", value, key, err))
		}
	})
	return errors.Join(errs...)
}

func (o options) validate(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	if min(o.listenDelay, o.bootDelay, o.unhealthyAfter, o.stopTimeout) < 0 {
		return errors.New("durations must not be negative")
	}
	if !(o.failRate >= 0 && o.failRate <= 1) {
		return errors.New("--fail-rate is a share, from 0 to 1")
	}
	return nil
}
