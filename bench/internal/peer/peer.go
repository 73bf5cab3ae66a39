// Package peer starts parachute and the proxies that it is measured against, all
// with settings that make them do the same work.
package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/process"
	"github.com/parachute-proxy/parachute/integration/rig"
)

// startTimeout bounds how long a proxy may take until it answers.
const startTimeout = 20 * time.Second

// Host is the host name that proxies serve.
const Host = "bench.test"

// Service is the name of the service that a proxy with services starts with.
const Service = "bench"

// Peer is a proxy that can be measured.
type Peer interface {
	// Name is what the proxy is called in tables.
	Name() string
	// Version returns the version, or an error if the proxy is not there.
	Version(ctx context.Context) (string, error)
	// Deploys says whether the proxy can be deployed to while it runs.
	Deploys() bool
	// Start starts the proxy before an upstream and returns when it forwards
	// requests for Host.
	Start(ctx context.Context, setup Setup) (*Proxy, error)
}

// Setup says what a proxy has to do.
type Setup struct {
	Dir         string       // empty directory, for whatever the proxy wants to keep
	CPUs        process.CPUs // cores to run on; none: any
	Upstream    string       // host:port
	Certificate *Certificate // to serve HTTPS as well
	AccessLog   bool         // to a file in Dir
	// Addr and TLSAddr are the host:port that Kamal listens on, so that it can be started again.
	// Empty ones are free ones, as those of all the others.
	Addr, TLSAddr string
	Directives    string // of a Caddyfile, each in a line, that requests pass
}

// Proxy is a proxy that runs.
type Proxy struct {
	*process.Process
	Peer    Peer
	Addr    string // host:port for HTTP
	TLSAddr string // host:port for HTTPS
	// AccessLog is the file with the access log, if there is one.
	AccessLog string
	// Deployer deploys to the proxy; nil if nothing can.
	Deployer Deployer
}

// Profiler is a Deployer whose proxy can tell what it spends its time on.
type Profiler interface {
	// Profile returns a CPU profile for pprof. It takes as many seconds.
	Profile(ctx context.Context, seconds int) ([]byte, error)
}

// Deployer deploys to a proxy at run time.
type Deployer interface {
	// Deploy makes a service forward to target and returns when nothing goes to
	// the previous target any more.
	Deploy(ctx context.Context, d Deployment) error
	// List asks for the list of services.
	List(ctx context.Context) error
}

// Deployment is what is deployed.
type Deployment struct {
	Service string
	Host    string
	Target  string // host:port
	Force   bool   // skips the health check
}

// start starts a program with the environment that all proxies get. It has nothing
// of the caller's: some proxies take options from there, as the Go runtime does,
// and they would find what another proxy of the same user has left.
func start(s Setup, o process.Options) (*process.Process, error) {
	o.CPUs = s.CPUs
	o.Log = logFile(s)
	o.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir,
		"XDG_CONFIG_HOME=" + s.Dir, "XDG_DATA_HOME=" + s.Dir, "XDG_RUNTIME_DIR=" + s.Dir,
	}
	if len(s.CPUs) == 1 {
		o.Env = append(o.Env, "GOMAXPROCS=1")
	}
	return process.Start(o)
}

// logFile is what a proxy writes to standard output and standard error: for some,
// the access log is among that.
func logFile(s Setup) string { return filepath.Join(s.Dir, "output.log") }

// accessLog is the access log of those that can write it to a file of its own.
func accessLog(s Setup) string { return filepath.Join(s.Dir, "access.log") }

// listening returns nil if all addresses accept connections.
func listening(addrs ...string) error {
	for _, addr := range addrs {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}

// freeAddr returns an address of the loopback interface that nobody listens on.
func freeAddr() (addr, port string, err error) {
	n, err := rig.FreePort()
	port = strconv.Itoa(n)
	return "127.0.0.1:" + port, port, err
}

// chosenAddr returns addr, or a free address if that is empty.
func chosenAddr(addr string) (_, port string, err error) {
	if addr == "" {
		return freeAddr()
	}
	_, port, err = net.SplitHostPort(addr)
	return addr, port, err
}

// writeFile writes a file in the proxy's directory and returns its path.
func writeFile(s Setup, name, content string) (string, error) {
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("writing a configuration: %w", err)
	}
	return path, nil
}
