package kamal

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// rolloutCookie is the cookie that an application sets for kamal-proxy to know its clients by.
const rolloutCookie = "kamal-rollout"

var (
	errRolloutNotSet = errors.New("rollout target not set")
	errSplitNotSet   = errors.New("rollout split not set")
)

// A rollout is a canary whose clients are known by that cookie. The targets in kamal-proxy's slot
// are its release: it has a share of nothing until the split is set.

func (p *program) rolloutCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rollout", Short: "Manage rollout settings"}
	cmd.AddCommand(p.rolloutDeployCommand(), p.rolloutSetCommand(), p.rolloutStopCommand())
	cmd.AddCommand(p.rolloutSwitchCommand("enable", "Turn the split of a rollout on again", false), p.rolloutSwitchCommand("disable", "Turn the split of a rollout off, and keep it", true))
	return cmd
}

func (p *program) rolloutDeployCommand() *cobra.Command {
	d := newDeployment()
	cmd := &cobra.Command{Use: "deploy <service>", Short: "Deploy the rollout target", Args: cobra.ExactArgs(1), ValidArgs: []string{"service"}}
	cmd.Flags().StringSliceVar(&d.targets, "target", nil, "Target host(s) to deploy")
	cmd.Flags().StringSliceVar(&d.readTargets, "read-target", nil, "Read-only target host(s) to deploy")
	addTimeouts(cmd.Flags(), &d)
	_ = cmd.MarkFlagRequired("target")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		d.service = args[0]
		s, err := p.service(d.service)
		switch {
		case err != nil:
			return err
		case s.Active == nil: // the release would serve all, for there is no other one
			return errServiceNotFound
		}
		return p.deploy(&d, rolloutPatch(&d), api.DeployPath(d.service))
	}
	return cmd
}

// rolloutPatch returns the deploy of the targets of a rollout, which has the settings of the
// service.
func rolloutPatch(d *deployment) api.Patch {
	p := api.Patch{
		"service": d.service, "targets": withPorts(d.targets), "canary": "0%", "canary_by": "cookie:" + rolloutCookie,
		"deploy_timeout": api.Duration(d.deployTimeout), "drain_timeout": api.Duration(d.drainTimeout),
	}
	if len(d.readTargets) > 0 {
		p.Set("read_targets", withPorts(d.readTargets))
	}
	return p
}

func (p *program) rolloutSetCommand() *cobra.Command {
	var percent int
	var values []string
	cmd := &cobra.Command{Use: "set <service>", Short: "Set traffic split for rollout", Args: cobra.ExactArgs(1), ValidArgs: []string{"service"}}
	cmd.Flags().IntVar(&percent, "percent", 0, "Percentage of traffic to send to the new target")
	cmd.Flags().StringSliceVar(&values, "list", nil, "Rollout to specific values")
	cmd.MarkFlagsOneRequired("percent", "list")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if percent < 0 || percent > 100 {
			return fmt.Errorf("percent must be from 0 to 100, and is %d", percent)
		}
		weight := api.PercentOf(float64(percent) / 100)
		return p.change(args[0], api.RolloutRequest{Action: api.ActionSet, Weight: &weight, Values: values})
	}
	return cmd
}

// rolloutSwitchCommand returns the command that turns a split on or off.
func (p *program) rolloutSwitchCommand(name, short string, off bool) *cobra.Command {
	return &cobra.Command{
		Use: name + " <service>", Short: short, Args: cobra.ExactArgs(1), ValidArgs: []string{"service"},
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := p.service(args[0])
			switch {
			case err != nil:
				return err
			case s.Candidate == nil || s.Rollout == nil:
				return errRolloutNotSet
			case s.Rollout.Weight == 0 && len(s.Rollout.Values) == 0:
				return errSplitNotSet
			}
			return p.change(args[0], api.RolloutRequest{Action: api.ActionSet, Weight: &s.Rollout.Weight, Values: s.Rollout.Values, Off: off})
		},
	}
}

func (p *program) rolloutStopCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "stop <service>", Short: "Stops rollout of a service", Args: cobra.ExactArgs(1), ValidArgs: []string{"service"}}
	drain := cmd.Flags().Duration("drain-timeout", 0, "How long to allow in-flight requests to complete (default what the rollout was deployed with)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("drain-timeout") {
			p.warn("a rollout drains within the time that it was deployed with, not within %s", *drain)
		}
		err := p.change(args[0], api.RolloutRequest{Action: api.ActionAbort})
		if errors.Is(err, errRolloutNotSet) {
			return nil // as with kamal-proxy
		}
		return err
	}
	return cmd
}

// change changes the rollout of a service.
func (p *program) change(service string, req api.RolloutRequest) error {
	s, err := p.service(service)
	switch {
	case err != nil:
		return err
	case s.Candidate == nil:
		return errRolloutNotSet
	}
	var result api.RolloutResult
	if err := p.call(http.MethodPut, api.RolloutPath(service), req, &result); err != nil {
		if api.ErrorCode(err) == api.CodeNotFound {
			return errRolloutNotSet
		}
		return err
	}
	for _, drain := range result.Drained {
		if cut := api.CutOf(drain); cut != nil {
			p.warn("the rollout has left, but %s", cut)
		}
	}
	return nil
}
