// Package process starts the programs under test on a core of their own, and
// reads from /proc what they use.
package process

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Process is a running program with everything that it has started.
type Process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// Options say how a program is run.
type Options struct {
	Args []string // Args[0] is the name that it gets
	Path string   // its file; default: Args[0], looked up by rig.LookPath
	Env  []string // the whole environment; default: that of this process
	CPUs CPUs     // cores to run on; none: any
	// Log is the file that gets what the program writes. It is a file and no pipe,
	// because somebody would have to read a pipe, on a core that has other things
	// to do.
	Log string
	// Quiet keeps standard output out of the log.
	Quiet bool
}

// Start starts a program. It dies with the calling process, whatever happens to
// that.
func Start(o Options) (*Process, error) {
	path := o.Path
	if path == "" {
		var err error
		if path, err = rig.LookPath(o.Args[0]); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	p := &Process{log: log, done: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: path, Args: o.Args, Env: o.Env,
		Stdout: log, Stderr: log,
		// A process group of its own, so that Stop reaches workers, and Ctrl-C
		// reaches nobody before us.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if o.Quiet {
		p.cmd.Stdout = nil
	}
	if err := launch(p.cmd, o.CPUs); err != nil {
		log.Close()
		return nil, fmt.Errorf("starting %s: %w", o.Args[0], err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// launches are commands to start, for the thread that starts them all.
var launches = make(chan func())

func init() {
	// A child inherits the cores of the thread that forks it, and Pdeathsig kills
	// it when that thread ends. So one thread starts everything, and never ends.
	go func() {
		runtime.LockOSThread()
		for launch := range launches {
			launch()
		}
	}()
}

func launch(cmd *exec.Cmd, cpus CPUs) error {
	result := make(chan error)
	launches <- func() {
		if err := cpus.pinThread(); err != nil {
			result <- err
			return
		}
		result <- cmd.Start()
	}
	return <-result
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the end of what the program has written.
func (p *Process) Log() string {
	const size = 4 << 10
	info, err := p.log.Stat()
	if err != nil {
		return err.Error()
	}
	end := io.NewSectionReader(p.log, max(0, info.Size()-size), size)
	text, err := io.ReadAll(end)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Wait waits until ready returns nil. It fails if the process ends before, or if
// that takes longer than the timeout.
func (p *Process) Wait(timeout time.Duration, ready func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended while it started: %s\n%s", p.cmd.Args[0], p.cmd.ProcessState, p.Log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting %s for %s: %w\n%s", timeout, p.cmd.Args[0], err, p.Log())
		}
	}
}

// Signal sends a signal to the process, not to those that it has started.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop kills the process and everything that it has started. Nothing that they
// could save is of use to anybody.
func (p *Process) Stop() {
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
	p.log.Close()
}
