package kamal

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// defaultMaxPause is how long requests wait for a service that is paused.
const defaultMaxPause = 30 * time.Second

func (p *program) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "remove <service>",
		Short:     "Remove the service",
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"service"},
		Aliases:   []string{"rm"},
		RunE: func(_ *cobra.Command, args []string) error {
			var removal api.Removal
			if err := p.call(http.MethodDelete, api.ServicePath(args[0]), api.RemoveRequest{}, &removal); err != nil {
				return ofService(err)
			}
			if removal.Cut != nil {
				p.warn("the service is removed, but %s", removal.Cut)
			}
			return nil
		},
	}
}

func (p *program) pauseCommand() *cobra.Command {
	drain, wait := time.Duration(api.DefaultDrainTimeout), defaultMaxPause
	cmd := &cobra.Command{Use: "pause <service>", Short: "Pause a service", Args: cobra.ExactArgs(1), ValidArgs: []string{"service"}}
	cmd.Flags().DurationVar(&drain, "drain-timeout", drain, "How long to allow in-flight requests to complete")
	cmd.Flags().DurationVar(&wait, "max-pause", wait, "How long to enqueue requests before shedding load")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		// kamal-proxy has as many requests wait as come.
		queue := api.MaxQueue
		return p.hold(api.PausePath(args[0]), api.HoldRequest{MaxWait: of(wait), Queue: &queue, DrainTimeout: of(drain)})
	}
	return cmd
}

func (p *program) stopCommand() *cobra.Command {
	drain, message := time.Duration(api.DefaultDrainTimeout), ""
	cmd := &cobra.Command{Use: "stop <service>", Short: "Stop a service", Args: cobra.ExactArgs(1), ValidArgs: []string{"service"}}
	cmd.Flags().DurationVar(&drain, "drain-timeout", drain, "How long to allow in-flight requests to complete")
	cmd.Flags().StringVar(&message, "message", "", "Message to display to clients while stopped")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		return p.hold(api.StopPath(args[0]), api.HoldRequest{Message: message, DrainTimeout: of(drain)})
	}
	return cmd
}

func (p *program) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume <service>", Short: "Resume a service", Args: cobra.ExactArgs(1), ValidArgs: []string{"service"},
		RunE: func(_ *cobra.Command, args []string) error {
			return ofService(p.call(http.MethodPost, api.ResumePath(args[0]), nil, new(api.HoldResult)))
		},
	}
}

// hold pauses or stops a service.
func (p *program) hold(path string, req api.HoldRequest) error {
	var result api.HoldResult
	if err := p.call(http.MethodPost, path, req, &result); err != nil {
		return ofService(err)
	}
	if result.Requests > 0 {
		p.warn("in flight still, and not cut: %s", api.Count(result.Requests, "request"))
	}
	return nil
}

// call makes a call of the API that is answered when something is over.
func (p *program) call(method, path string, body, out any) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	return c.CallUntilDone(ctx, method, path, body, out)
}

// service returns a service as it is now.
func (p *program) service(name string) (s api.ServiceStatus, err error) {
	c, err := p.client()
	if err == nil {
		err = ofService(c.Call(context.Background(), http.MethodGet, api.ServicePath(name), nil, &s))
	}
	return s, err
}

// of returns a time as the API has it.
func of(d time.Duration) *api.Duration {
	v := api.Duration(d)
	return &v
}
