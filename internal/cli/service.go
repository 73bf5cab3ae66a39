package cli

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// onService calls with the name of a service as it was written, and if there is no such
// service, as a deploy would have named it after a host: in lower case, without the dot
// at the end, in ASCII.
func onService(written string, call func(name string) error) error {
	names := []string{written}
	if normalized, err := api.NormalizeHost(written); err == nil && normalized != written {
		names = append(names, normalized)
	}
	invalid := api.ValidateServiceName(written)
	names = slices.DeleteFunc(names, func(name string) bool { return api.ValidateServiceName(name) != nil })
	if len(names) == 0 {
		return invalid
	}
	var first error
	for _, name := range names {
		err := call(name)
		if api.ErrorCode(err) != api.CodeNotFound {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// callUntilDone calls with the name of a service as it was written, and waits until the proxy
// has done what the call asks for, or somebody interrupts the command. path returns the path of
// the call for a service.
func (e *Env) callUntilDone(cmd *cobra.Command, written, method string, path func(service string) string, body, out any) error {
	c, err := e.Client(cmd)
	if err != nil {
		return err
	}
	ctx, stop := e.interruptible()
	defer stop()
	return onService(written, func(name string) error { return c.CallUntilDone(ctx, method, path(name), body, out) })
}

// fetchServices returns the services of the given names, or all.
func fetchServices(ctx context.Context, env *Env, cmd *cobra.Command, names ...string) ([]api.ServiceStatus, error) {
	c, err := env.Client(cmd)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return c.Services(ctx)
	}
	var all []api.ServiceStatus
	for _, name := range names {
		one, err := fetchService(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, func(s api.ServiceStatus) bool { return s.Name == one.Name }) {
			all = append(all, one)
		}
	}
	return all, nil
}

func fetchService(ctx context.Context, c *client.Client, name string) (one api.ServiceStatus, err error) {
	err = onService(name, func(name string) error {
		return c.Call(ctx, http.MethodGet, api.ServicePath(name), nil, &one)
	})
	return one, err
}

// filterServices returns the services that have a text in their name, a route or the
// address of a target.
func filterServices(services []api.ServiceStatus, text string) []api.ServiceStatus {
	text = strings.ToLower(text)
	return slices.DeleteFunc(slices.Clone(services), func(s api.ServiceStatus) bool {
		words := append([]string{s.Name}, allRoutesOf(s)...)
		for _, r := range s.Releases() {
			for _, t := range r.Targets {
				words = append(words, t.Address)
			}
		}
		for _, d := range s.Deployments {
			words = append(words, d.Targets...)
		}
		return !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(strings.ToLower(word), text) })
	})
}

// nothingDeployed says what to begin with.
func (e *Env) nothingDeployed() {
	e.note(e.named("nothing is deployed yet; begin with: parachute deploy web-1:3000"))
}
