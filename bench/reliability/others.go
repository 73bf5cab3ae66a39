package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/integration/rig"
)

// kamalProxy is kamal-proxy. It can be restarted only.
type kamalProxy struct {
	peer.Kamal
	setup peer.Setup
	proxy *peer.Proxy
}

func (*kamalProxy) name() string { return "kamal-proxy" }

func (*kamalProxy) http3() bool { return false }

func (k *kamalProxy) askVersion(ctx context.Context) (string, error) {
	if err := k.Build(ctx); err != nil {
		return "", err
	}
	return k.Version(ctx)
}

func (k *kamalProxy) start(ctx context.Context) (plain, secure string, err error) {
	if k.proxy, err = k.Start(ctx, k.setup); err != nil {
		return "", "", err
	}
	k.setup.Addr, k.setup.TLSAddr = k.proxy.Addr, k.proxy.TLSAddr
	return k.proxy.Addr, k.proxy.TLSAddr, nil
}

func (k *kamalProxy) change(c change) func(context.Context) error {
	if c != restart {
		return nil
	}
	return func(ctx context.Context) error {
		if err := end(ctx, k.proxy.PID(), syscall.SIGTERM); err != nil {
			return err
		}
		_, _, err := k.start(ctx) // with what it remembers
		return err
	}
}

func (k *kamalProxy) stop() { k.proxy.Stop() }

// nginx is nginx with its master in the background, where alone it can be upgraded (nginx.org, "Controlling
// nginx").
type nginx struct {
	setup  peer.Setup
	config string
}

func (*nginx) name() string { return "nginx" }

func (*nginx) http3() bool { return false }

func (*nginx) askVersion(ctx context.Context) (string, error) { return peer.Nginx{}.Version(ctx) }

func (n *nginx) start(context.Context) (plain, secure string, err error) {
	if plain, secure, err = freeAddrs(); err != nil {
		return "", "", err
	}
	n.config = filepath.Join(n.setup.Dir, "nginx.conf")
	if err := os.WriteFile(n.config, []byte(peer.NginxConf(n.setup, plain, secure)), 0o600); err != nil {
		return "", "", err
	}
	return plain, secure, n.launch()
}

func (n *nginx) launch() error {
	path, err := rig.LookPath("nginx")
	if err != nil {
		return err
	}
	// What it writes goes nowhere: who reads it would wait for the end of the master.
	if err := exec.Command(path, "-p", n.setup.Dir, "-c", n.config, "-e", "error.log").Run(); err != nil {
		return fmt.Errorf("starting nginx: %w", err)
	}
	return nil
}

// master returns the number of the master, as a file has it.
func (n *nginx) master(file string) (int, error) {
	text, err := os.ReadFile(filepath.Join(n.setup.Dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (n *nginx) change(c change) func(context.Context) error {
	return map[change]func(context.Context) error{reload: n.reload, upgrade: n.upgrade, restart: n.restart}[c]
}

func (n *nginx) reload(ctx context.Context) error {
	master, err := n.master("nginx.pid")
	if err != nil {
		return err
	}
	return renewWorkers(ctx, master, syscall.SIGHUP)
}

// upgrade has a new master begin, and then the old one end.
func (n *nginx) upgrade(ctx context.Context) error {
	old, err := n.master("nginx.pid")
	if err != nil {
		return err
	}
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		return err
	}
	err = until(ctx, func() error {
		next, err := n.master("nginx.pid")
		switch {
		case err != nil:
			return err
		case next == old || len(children(next)) == 0:
			return errors.New("nginx has no new master")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.end(ctx, old)
}

func (n *nginx) restart(ctx context.Context) error {
	master, err := n.master("nginx.pid")
	if err != nil {
		return err
	}
	if err := n.end(ctx, master); err != nil {
		return err
	}
	return n.launch()
}

// nginxPatience is how long nginx has to end by itself: what the unit of Debian has.
const nginxPatience = 5 * time.Second

// end has a master end as the unit of Debian does: politely, and then at once.
func (n *nginx) end(ctx context.Context, master int) error {
	politely, cancel := context.WithTimeout(ctx, nginxPatience)
	defer cancel()
	if end(politely, master, syscall.SIGQUIT) == nil {
		return nil
	}
	return end(ctx, master, syscall.SIGTERM)
}

func (n *nginx) stop() {
	if master, err := n.master("nginx.pid"); err == nil {
		_ = end(context.Background(), master, syscall.SIGTERM)
	}
}

// haproxy is HAProxy with a master, which replaces its worker and itself at once (HAProxy Management
// Guide, section 4): a reload is an upgrade.
type haproxy struct {
	setup  peer.Setup
	config string
	cmd    *exec.Cmd
}

func (*haproxy) name() string { return "HAProxy" }

func (*haproxy) http3() bool { return false }

func (*haproxy) askVersion(ctx context.Context) (string, error) { return peer.HAProxy{}.Version(ctx) }

func (h *haproxy) start(ctx context.Context) (plain, secure string, err error) {
	if plain, secure, err = freeAddrs(); err != nil {
		return "", "", err
	}
	h.config = filepath.Join(h.setup.Dir, "haproxy.cfg")
	if err := os.WriteFile(h.config, []byte(peer.HAProxyConf(h.setup, plain, secure)), 0o600); err != nil {
		return "", "", err
	}
	return plain, secure, h.launch(ctx)
}

func (h *haproxy) launch(ctx context.Context) error {
	path, err := rig.LookPath("haproxy")
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(h.setup.Dir, "haproxy.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	h.cmd = exec.Command(path, "-W", "-f", h.config)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		return err
	}
	return until(ctx, func() error {
		if len(children(h.cmd.Process.Pid)) == 0 {
			return errors.New("HAProxy has no worker")
		}
		return nil
	})
}

func (h *haproxy) change(c change) func(context.Context) error {
	renew := func(ctx context.Context) error { return renewWorkers(ctx, h.cmd.Process.Pid, syscall.SIGUSR2) }
	return map[change]func(context.Context) error{
		reload: renew, upgrade: renew,
		restart: func(ctx context.Context) error {
			h.stop()
			return h.launch(ctx)
		},
	}[c]
}

func (h *haproxy) stop() {
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	_ = h.cmd.Wait()
}

// renewWorkers tells a master to replace its workers, and returns when it has a new one.
func renewWorkers(ctx context.Context, master int, signal syscall.Signal) error {
	before := make(map[string]bool)
	for _, pid := range children(master) {
		before[pid] = true
	}
	var told time.Time
	return until(ctx, func() error {
		if time.Since(told) > 2*time.Second { // a master of HAProxy that has just begun may not hear it
			told = time.Now()
			if err := syscall.Kill(master, signal); err != nil {
				return err
			}
		}
		for _, pid := range children(master) {
			if !before[pid] {
				return nil
			}
		}
		return fmt.Errorf("process %d has no new worker", master)
	})
}

// children returns the numbers of the processes that a process has started.
func children(pid int) []string {
	all, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	return strings.Fields(string(all))
}

// end tells a process to end, and returns when it has.
func end(ctx context.Context, pid int, signal syscall.Signal) error {
	if err := syscall.Kill(pid, signal); err != nil {
		return err
	}
	return until(ctx, func() error {
		if rig.IsRunning(pid) {
			return fmt.Errorf("process %d does not end", pid)
		}
		return nil
	})
}

func freeAddrs() (plain, secure string, err error) {
	a, errA := rig.FreePort()
	b, errB := rig.FreePort()
	return fmt.Sprintf("127.0.0.1:%d", a), fmt.Sprintf("127.0.0.1:%d", b), errors.Join(errA, errB)
}
