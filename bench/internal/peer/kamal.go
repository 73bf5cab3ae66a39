package peer

import (
	"context"
	"fmt"
	"net/rpc"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/process"
)

// Kamal is kamal-proxy, in the version that kamal-proxy/go.mod names.
type Kamal struct {
	Binary string // path
}

// kamalPackage is the program's import path.
const kamalPackage = "github.com/basecamp/kamal-proxy/cmd/kamal-proxy"

// buildTimeout bounds the build, which may have to download what it needs.
const buildTimeout = 10 * time.Minute

// Build builds the binary. The working directory has to be that of the benchmark.
func (k Kamal) Build(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "-C", "kamal-proxy", "build", "-trimpath", "-o", k.Binary, kamalPackage)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building kamal-proxy (-peers can leave it out): %w\n%s", err, out)
	}
	return nil
}

// Name implements Peer.
func (Kamal) Name() string { return "kamal-proxy" }

// Deploys implements Peer.
func (Kamal) Deploys() bool { return true }

// Version implements Peer.
func (k Kamal) Version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "version", "-m", k.Binary).Output()
	if err != nil {
		return "", fmt.Errorf("asking for the version of kamal-proxy: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "github.com/basecamp/kamal-proxy" {
			return fields[2], nil
		}
	}
	return "", fmt.Errorf("%s says no version", k.Binary)
}

// Start implements Peer.
func (k Kamal) Start(ctx context.Context, s Setup) (*Proxy, error) {
	addr, port, err := chosenAddr(s.Addr)
	if err != nil {
		return nil, err
	}
	tlsAddr, tlsPort, err := chosenAddr(s.TLSAddr)
	if err != nil {
		return nil, err
	}
	proc, err := start(s, process.Options{
		Path: k.Binary, Args: []string{"kamal-proxy", "run", "--http-port", port, "--https-port", tlsPort},
		// It logs every request, and has no option against that.
		Quiet: !s.AccessLog,
	})
	if err != nil {
		return nil, err
	}
	d := &kamalRPC{socket: filepath.Join(s.Dir, "kamal-proxy.sock"), certificate: s.Certificate}
	err = proc.Wait(startTimeout, func() error {
		if err := d.connect(); err != nil {
			return err
		}
		return listening(addr, tlsAddr)
	})
	if err == nil {
		err = d.Deploy(ctx, Deployment{Service: Service, Host: Host, Target: s.Upstream})
	}
	if err != nil {
		proc.Stop()
		return nil, err
	}
	return &Proxy{Process: proc, Peer: k, Addr: addr, TLSAddr: tlsAddr, AccessLog: logFile(s), Deployer: d}, nil
}

// kamalRPC does what the commands of kamal-proxy do, without the time that a
// process takes to start.
type kamalRPC struct {
	socket      string
	certificate *Certificate
	client      *rpc.Client
}

func (d *kamalRPC) connect() error {
	if d.client != nil {
		return nil
	}
	client, err := rpc.Dial("unix", d.socket)
	if err != nil {
		return err
	}
	d.client = client
	return nil
}

// kamalDeployArgs has the fields of kamal-proxy's server.DeployArgs that have to
// be set. Package gob matches fields by their names.
type kamalDeployArgs struct {
	Service           string
	TargetURLs        []string
	DeploymentOptions struct {
		DeployTimeout, DrainTimeout time.Duration
		Force                       bool
	}
	ServiceOptions struct {
		Hosts, PathPrefixes                   []string
		StripPrefix                           bool
		TLSEnabled                            bool
		TLSCertificatePath, TLSPrivateKeyPath string
	}
	TargetOptions struct {
		HealthCheckConfig struct {
			Path              string
			Interval, Timeout time.Duration
		}
		ResponseTimeout time.Duration
		ForwardHeaders  bool
	}
}

// Deploy implements Deployer, with the defaults of `kamal-proxy deploy`.
func (d *kamalRPC) Deploy(ctx context.Context, deployment Deployment) error {
	var args kamalDeployArgs
	args.Service, args.TargetURLs = deployment.Service, []string{deployment.Target}
	args.DeploymentOptions.DeployTimeout = 30 * time.Second
	args.DeploymentOptions.DrainTimeout = 30 * time.Second
	args.DeploymentOptions.Force = deployment.Force
	args.ServiceOptions.Hosts, args.ServiceOptions.PathPrefixes = []string{deployment.Host}, []string{"/"}
	args.ServiceOptions.StripPrefix = true
	args.TargetOptions.HealthCheckConfig.Path = "/up"
	args.TargetOptions.HealthCheckConfig.Interval = time.Second
	args.TargetOptions.HealthCheckConfig.Timeout = 5 * time.Second
	args.TargetOptions.ResponseTimeout = 30 * time.Second
	args.TargetOptions.ForwardHeaders = d.certificate == nil
	if d.certificate != nil {
		args.ServiceOptions.TLSEnabled = true
		args.ServiceOptions.TLSCertificatePath = d.certificate.CertFile
		args.ServiceOptions.TLSPrivateKeyPath = d.certificate.KeyFile
	}
	var done bool
	return d.call(ctx, "Deploy", args, &done)
}

// List implements Deployer.
func (d *kamalRPC) List(ctx context.Context) error {
	var list struct {
		Targets map[string]struct{ Host string }
	}
	return d.call(ctx, "List", true, &list)
}

func (d *kamalRPC) call(ctx context.Context, method string, in, out any) error {
	call := d.client.Go("kamal-proxy."+method, in, out, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if call.Error != nil {
		return fmt.Errorf("kamal-proxy: calling %s: %w", method, call.Error)
	}
	return nil
}
