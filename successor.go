package parachute

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/argv0"
	"github.com/parachute-proxy/parachute/internal/run"
)

// lastWords is how long a process that has not taken over has to end by itself, and to log why.
const lastWords = 5 * time.Second

// upgrade starts a process that takes over from this one. It returns that process, or why none has
// taken over: then this one goes on.
func (p *process) upgrade(ctx context.Context) (api.Process, error) {
	p.mu.Lock()
	server := p.server
	p.mu.Unlock()
	switch {
	case server == nil:
		return api.Process{}, errors.New("it was not started by parachute run, or has no socket to hand over at")
	case endsContainer(os.Getpid(), os.Getppid(), firstProcess()):
		return api.Process{}, errors.New("its container would end with it; start another container with run --takeover")
	}
	cmd, err := p.successor(server.Listener().Addr().String())
	if err != nil {
		return api.Process{}, err
	}
	attempt, err := server.Expect(func() (int, error) {
		if err := cmd.Start(); err != nil {
			return 0, fmt.Errorf("starting the new process: %w", err)
		}
		return cmd.Process.Pid, nil
	})
	if err != nil {
		return api.Process{}, err
	}
	go func() {
		err := cmd.Wait()
		time.Sleep(time.Second) // what it has said of itself says more
		if err == nil {
			err = errors.New("exit status 0")
		}
		server.End(attempt, fmt.Errorf("the new process has ended with %w; its log says why", err))
	}()
	to, err := attempt.Wait(ctx)
	switch {
	case err == nil:
	case server.End(attempt, err): // nobody waits any more
		_ = cmd.Process.Kill()
	default:
		// It has ended, or is about to end, by itself. What does not take over must not stay: it has
		// the sockets.
		if to, err = attempt.Wait(context.Background()); err != nil {
			time.AfterFunc(lastWords, func() { _ = cmd.Process.Kill() })
		}
	}
	return to, err
}

// endsContainer reports whether the container ends with a process: if it is the first one, or is what
// the first one, named first, was made to run.
func endsContainer(pid, parent int, first string) bool {
	return pid == 1 || parent == 1 && slices.Contains([]string{"docker-init", "tini", "tini-static", "dumb-init", "catatonit", "sh", "ash", "dash", "bash"}, first)
}

// firstProcess returns the name of the first process, where the system tells it.
func firstProcess() string {
	name, _ := os.ReadFile("/proc/1/comm")
	return strings.TrimSpace(string(name))
}

// successor returns the command that starts the next process: the one that started this one. The
// program is looked for anew, since another one may be there now.
func (p *process) successor(handoverSocket string) (*exec.Cmd, error) {
	args := argv0.Original()
	path := args[0]
	switch {
	case !strings.ContainsRune(path, filepath.Separator):
		found, err := exec.LookPath(path)
		if err != nil {
			return nil, fmt.Errorf("finding the program of the new process: %w", err)
		}
		path = found
	case !filepath.IsAbs(path):
		path = filepath.Join(p.began, path)
	}
	cmd := &exec.Cmd{Path: path, Args: args, Dir: p.began, Stdout: os.Stdout, Stderr: os.Stderr}
	cmd.Env = append(os.Environ(), run.TakeoverVariable+"="+handoverSocket)
	return cmd, nil
}
