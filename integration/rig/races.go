package rig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Races are the data races in the programs that this process starts: the proxy, its
// commands and the sample application.
//
// The race detector writes what it finds into files, one for each process. Standard
// error is no place to look for it: there are tests that read nothing from it, and tests
// that kill the process before its exit code could tell.
type Races struct {
	prefix string // of the files' paths; the process id follows
}

// races is nil until WatchForRaces is called.
var races *Races

// WatchForRaces makes the race detector of every program that is started from now on
// report to the Races that it returns. It is called once, before anything is started.
func WatchForRaces() (*Races, error) {
	dir, err := os.MkdirTemp("", "parachute-races-")
	if err != nil {
		return nil, err
	}
	races = &Races{filepath.Join(dir, "race")}
	// Without atexit_sleep_ms, each program would wait for a second at its end, in which
	// its other goroutines might race: minutes, for all the commands that tests run.
	options := os.Getenv("GORACE") + " atexit_sleep_ms=0 log_path=" + races.prefix
	return races, os.Setenv("GORACE", strings.TrimSpace(options))
}

// Of returns the races of some processes as an error, or nil.
func (r *Races) Of(pids ...int) error {
	if r == nil {
		return nil
	}
	var found []error
	for _, pid := range pids {
		found = append(found, r.read(fmt.Sprintf("%s.%d", r.prefix, pid)))
	}
	return errors.Join(found...)
}

// All returns the races of all processes as an error, or nil.
func (r *Races) All() error {
	files, err := filepath.Glob(r.prefix + ".*")
	found := []error{err}
	for _, file := range files {
		found = append(found, r.read(file))
	}
	return errors.Join(found...)
}

func (r *Races) read(file string) error {
	report, err := os.ReadFile(file)
	if err != nil || len(report) == 0 {
		return nil // a process without a race has no file
	}
	return fmt.Errorf("a data race in process %s:\n%.6000s", strings.TrimPrefix(filepath.Ext(file), "."), report)
}

// Remove removes the reports.
func (r *Races) Remove() { os.RemoveAll(filepath.Dir(r.prefix)) }
