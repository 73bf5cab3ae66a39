package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"syscall"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Upgrade has another process take over, as `parachute upgrade` does. From then on that one is
// signalled, and Stop waits for the end of all.
func (p *Proxy) Upgrade(args ...string) (api.Upgrade, error) {
	var result api.Upgrade
	r, err := p.Run(append([]string{"upgrade", "--output", "json"}, args...)...)
	switch {
	case err != nil:
		return result, err
	case r.Code != 0:
		return result, fmt.Errorf("upgrade ended with %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	if err := json.Unmarshal([]byte(r.Stdout), &result); err != nil {
		return result, err
	}
	if p.leader, err = os.FindProcess(result.To.PID); err != nil {
		return result, err
	}
	p.pids = append(p.pids, result.To.PID)
	return result, nil
}

// Processes returns those of the proxy: the one that decides is the first.
func (p *Proxy) Processes() ([]api.Process, error) {
	c, err := p.API()
	if err != nil {
		return nil, err
	}
	var list api.ProcessList
	err = c.Call(context.Background(), http.MethodGet, api.PathProcesses, nil, &list)
	return list.Processes, err
}

// Leads says which process serves, after one that has taken over is gone.
func (p *Proxy) Leads(pid int) (err error) {
	if !slices.Contains(p.pids, pid) {
		p.pids = append(p.pids, pid)
	}
	p.leader, err = os.FindProcess(pid)
	return err
}

// IsRunning reports whether there is a process, which may have ended and wait for its parent.
func IsRunning(pid int) bool { return syscall.Kill(pid, 0) == nil && !isZombie(pid) }

// isZombie reports whether a process has ended, and nobody has asked how.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	var state byte
	for i := len(stat) - 1; i > 0; i-- { // behind the name, which may have anything in it
		if stat[i] == ')' && i+2 < len(stat) {
			state = stat[i+2]
			break
		}
	}
	return state == 'Z'
}
