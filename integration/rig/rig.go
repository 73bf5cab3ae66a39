// Package rig starts the real proxy and web applications on loopback ports, for
// the black-box tests and the demo. It reports failures as errors, since the demo
// is no test.
package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// BuildFlags are the flags that every build in this repository shares, so that
// Caddy is compiled once and then comes from Go's build cache.
var BuildFlags = []string{"-trimpath", "-buildvcs=false", "-tags", "nobadger,nomysql,nopgx", "-pgo=off"}

// ParachuteBinary returns the path of the proxy: PARACHUTE_BIN if it is set, else
// one that is built once per process, with the race detector if the caller has
// it.
var ParachuteBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PARACHUTE_BIN"); path != "" {
		return path, nil
	}
	return Build("parachute", "./caddy/parachute")
})

// commandBinary returns the path of the program that commands are run with, other than `run`:
// PARACHUTE_COMMAND if it is set, else that of the proxy. The race detector makes each start of a process
// three times as dear, and has little to find in a command.
func commandBinary() (string, error) {
	if path := os.Getenv("PARACHUTE_COMMAND"); path != "" {
		return path, nil
	}
	return ParachuteBinary()
}

// ExampleBinary returns the path of the sample application, built once per
// process.
var ExampleBinary = sync.OnceValues(func() (string, error) {
	return Build("example", "./example")
})

// binaries is where built programs are put. RemoveBinaries removes it.
var binaries = sync.OnceValues(func() (string, error) {
	return os.MkdirTemp("", "parachute-rig-")
})

// RemoveBinaries removes the programs that were built.
func RemoveBinaries() {
	if dir, err := binaries(); err == nil {
		os.RemoveAll(dir)
	}
}

// Build builds a program of a folder of this module and returns its path. RemoveBinaries removes it.
func Build(name, pkg string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	args := append([]string{"build", "-o", path}, BuildFlags...)
	cgo := "CGO_ENABLED=0" // as `make` does, for the sake of one build cache
	if RaceEnabled {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// moduleRoot returns the folder of the plugin's module, also to tests that are in
// a module of their own.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/parachute-proxy/parachute").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// LookPath finds a program in PATH, or where Debian keeps servers, which is not in
// everybody's PATH.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		if path, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil {
			return path, nil
		}
	}
	return path, err
}

// Ports are given away from firstPort on. They are below those that the system takes for
// outgoing connections and for port 0 (32768 and above on Linux, 49152 elsewhere), so that
// a proxy which is started again finds its port free.
const (
	firstPort = 10_000
	ports     = 20_000
)

// nextPort begins anywhere, since other processes may look for ports, too.
var nextPort = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(rand.Int64N(ports))
	return &n
}()

// FreePort returns a port that nobody has at the moment, neither over TCP nor over UDP,
// on any interface, and that it will not return again soon.
func FreePort() (int, error) {
	for range 1000 {
		port := firstPort + int(nextPort.Add(1)%ports)
		l, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err != nil {
			continue
		}
		l.Close()
		if pc, err := net.ListenPacket("udp", fmt.Sprint(":", port)); err == nil {
			pc.Close()
			return port, nil
		}
	}
	return 0, errors.New("no port is free")
}
