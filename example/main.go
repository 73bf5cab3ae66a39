// Command example is the sample web application of docker-compose.yml: small
// enough to read in one sitting, and able to misbehave on request, so that a
// deploy can be watched going right and going wrong.
//
// Every answer names the instance and the version it came from, in the headers
// X-Instance and X-Version and in the body:
//
//	/             a page for people (plain text for curl)
//	/up           the health check: 200 when ready, else 503 with the reason
//	/slow?d=2s    answers after d
//	/ws           WebSocket echo; the first message names the instance
//	/sse?every=1s server-sent events without end
//	/upload       reads a body (POST or PUT), answers its size and SHA-256
//	/echo         the request as it arrived, as JSON; also /echo/any/path
//	/fail         answers 500
//	/admin/health POST ?up=false makes /up fail, ?up=true makes it succeed
//
// `example --help` lists the switches. Each is also an environment variable:
// --boot-delay is BOOT_DELAY.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	opts, err := parseOptions(os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		os.Exit(2) // parseOptions has told why
	}

	logger := log.New(os.Stderr, opts.name+" "+opts.version+": ", 0)
	if err := run(opts, logger); err != nil {
		logger.Print(err)
		os.Exit(1)
	}
}

// run serves until a signal ends it; a graceful stop is not an error.
func run(opts options, logger *log.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals(opts.refuseStop, logger)...)
	defer stop()

	if opts.listenDelay > 0 {
		logger.Printf("not listening for %s", opts.listenDelay)
		select {
		case <-time.After(opts.listenDelay):
		case <-ctx.Done():
			return nil
		}
	}

	ln, err := listen(opts.addr)
	if err != nil {
		return err
	}
	logger.Printf("listening on %s", ln.Addr())

	app := newApp(opts, time.Now())
	context.AfterFunc(ctx, func() { logger.Print("stopping") })
	return serve(ctx, ln, app, opts.stopTimeout)
}

// stopSignals returns the signals that stop the application. One that refuses
// to stop says so whenever it is asked, instead of ignoring the signal in
// silence: people who wait for it should see what it waits for. An interrupt
// from the keyboard always works.
func stopSignals(refuse bool, logger *log.Logger) []os.Signal {
	if !refuse {
		return []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	terminations := make(chan os.Signal, 1)
	signal.Notify(terminations, syscall.SIGTERM)
	go func() {
		for range terminations {
			logger.Print("refusing to stop")
		}
	}()
	return []os.Signal{os.Interrupt}
}
