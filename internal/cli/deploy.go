package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// AddDeploy makes cmd deploy: it gets the flags, with their completion, and what it runs.
func AddDeploy(env *Env, cmd *cobra.Command) {
	addDeployFlags(cmd)
	output := AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only")
	_ = cmd.RegisterFlagCompletionFunc("service", env.CompleteServices)
	unset := addUnsetFlag(cmd)
	dryRun := cmd.Flags().Bool("dry-run", false, "show what would change, and change nothing")
	groupFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, targets []string) error {
		c := sync.OnceValues(func() (*client.Client, error) { return env.Client(cmd) })
		p, err := deployPatch(cmd.Flags(), targets, *unset, newExisting(cmd.Context(), c))
		if err == nil {
			err = runDeploy(env, cmd, c, p, *dryRun, *output, *quiet)
		}
		if file := cmd.Flags().Lookup("with"); file.Changed {
			nameFile(err, "with", file.Value.String())
		}
		if api.ErrorCode(err) == api.CodeInvalid {
			return cmp.Or(RefuseStrayValues(cmd.Flags(), env.Args, targets), err)
		}
		return err
	}
}

// connect returns a client of the proxy.
type connect func() (*client.Client, error)

func runDeploy(env *Env, cmd *cobra.Command, connect connect, p api.Patch, dryRun bool, output OutputFormat, quiet bool) error {
	c, err := connect()
	switch {
	case err != nil:
		return err
	case dryRun:
		return env.showPlan(cmd.Context(), c, p, output)
	}
	return deploy(env, c, p, output, quiet)
}

// deployPatch returns what the flags ask for: flags that were not given are left out, so
// that the service keeps what it has. service tells what that is, and is asked only if that
// matters.
func deployPatch(flags *pflag.FlagSet, targets, unset []string, service existing) (api.Patch, error) {
	if err := refuseEmptySettings(flags); err != nil {
		return nil, err
	}
	if err := checkTLSFlags(flags); err != nil {
		return nil, err
	}
	p := settingsOf(flags)
	targets = takeIssuer(flags, targets)
	p.Set("targets", targets)
	for _, place := range []string{"target_ca", "error_pages"} {
		if path, ok := p[place].(string); ok {
			p.Set(place, absolute(path))
		}
	}
	if err := readSettingFiles(p, service); err != nil {
		return nil, err
	}
	leaveOutStray(flags, p, targets)
	req, err := p.Apply(nil)
	if err == nil {
		err = req.ValidateValues()
	}
	if err != nil {
		return nil, err
	}
	err = addTLS(p, flags, func() (bool, error) {
		if p["reset"] == true {
			return false, nil // what the service has is not kept
		}
		s, err := service(p)
		return s != nil && s.TLS, err
	})
	if err != nil {
		return nil, err
	}
	if err := unsetIn(p, unset); err != nil {
		return nil, err
	}
	// Last, for a default is nothing that --unset could contradict.
	if who := callerName(); who != "" && !p.Names("note.by") {
		p.Set("note.by", who)
	}
	return p, nil
}

// existing returns the service that a deploy is of; nil if there is none yet.
type existing func(api.Patch) (*api.ServiceStatus, error)

// newExisting returns an existing that asks the proxy.
func newExisting(ctx context.Context, connect connect) existing {
	return func(p api.Patch) (*api.ServiceStatus, error) {
		name, err := p.Service()
		if err != nil {
			return nil, err
		}
		c, err := connect()
		if err != nil {
			return nil, err
		}
		s := new(api.ServiceStatus)
		if err := c.Call(ctx, http.MethodGet, api.ServicePath(name), nil, s); err != nil {
			if api.ErrorCode(err) == api.CodeNotFound {
				return nil, nil
			}
			return nil, err
		}
		return s, nil
	}
}

// addDeployFlags gives cmd a flag for each setting of a deploy.
func addDeployFlags(cmd *cobra.Command) {
	addSettingFlags(cmd)
	cmd.Flags().Lookup("tls").NoOptDefVal = string(api.IssuerAuto)
	cmd.Flags().Lookup("hsts").NoOptDefVal = api.DefaultHSTS
}

// deploy deploys what p asks for and shows how it goes.
func deploy(env *Env, c *client.Client, p api.Patch, output OutputFormat, quiet bool) error {
	call := deployCall{path: api.PathDeployments, body: p, detach: p["detach"] == true}
	printer := newDeployPrinter(env, output, quiet, p["force"] == true)
	if text, ok := printer.(*textPrinter); ok {
		text.tried = p.Sets("watch") || p.Sets("canary") || p.Sets("steps") || p.Sets("slow_start")
	}
	return call.do(env, c, printer)
}

// deployCall is a call that has a deployment accepted.
type deployCall struct {
	path   string
	body   any
	detach bool
}

// do makes the call and shows how the deployment goes.
func (call deployCall) do(env *Env, c *client.Client, printer deployPrinter) error {
	ctx, stop := env.interruptible()
	defer stop()
	if call.detach {
		var status api.DeploymentStatus
		if err := c.Call(ctx, http.MethodPost, call.path, call.body, &status); err != nil {
			return err
		}
		return printer.Result(status)
	}
	var id string
	var result *api.DeploymentStatus
	err := c.Stream(ctx, call.path, call.body, func(ev api.Event) error {
		id, result = ev.Deployment, ev.Result
		return printer.Event(ev)
	})
	printer.End()
	switch {
	case api.ErrorCode(err) == client.CodeInterrupted:
		return interrupted(c, id)
	case err != nil:
		return err
	case result.Error != nil:
		return Reported(DescribeFailure(*result))
	}
	env.WarnOfCut(OutcomeOf(*result), result.Cut)
	return printer.Result(*result)
}

// interruptedTimeout bounds how long an interrupted command takes to find out
// what has become of its deployment.
const interruptedTimeout = 3 * time.Second

// interrupted says what became of a deployment whose command was interrupted. The
// proxy alone knows: the switch may have been under way.
func interrupted(c *client.Client, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), interruptedTimeout)
	defer cancel()
	for id != "" {
		var status api.DeploymentStatus
		if err := c.Call(ctx, http.MethodGet, api.DeploymentPath(id), nil, &status); err != nil {
			break
		}
		switch {
		case !status.State.Final() && status.Rollout != nil:
			return &api.Error{
				Code:    client.CodeInterrupted,
				Message: fmt.Sprintf("interrupted; the rollout of %s v%d goes on", status.Service, status.Rollout.Release),
				Hint:    "wait for it with: parachute wait " + id + ", or see: parachute rollout status " + api.ShellWord(status.Service),
			}
		case status.Release > 0:
			return &api.Error{
				Code:    client.CodeInterrupted,
				Message: fmt.Sprintf("interrupted after the switch; %s v%d is live", status.Service, status.Release),
				Hint:    "the old release may still be draining; wait for it with: parachute wait " + id,
			}
		case status.State.Final():
			return &api.Error{Code: client.CodeInterrupted, Message: "interrupted before the switch; nothing has changed"}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return &api.Error{
		Code:    client.CodeInterrupted,
		Message: "interrupted; whether it has switched is not known",
		Hint:    "see: parachute status",
	}
}
