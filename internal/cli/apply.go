package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// maxApplyFile bounds the file that apply reads, in bytes.
const maxApplyFile = 16 << 20

func newApplyCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Deploy services as a file describes them",
		Long: `apply deploys services as a file describes them. The file is YAML or JSON. It has the
fields of a deploy in the API (docs/API.md), for one service, or for several as a list
or as YAML documents. Unlike deploy, apply replaces all settings: those that are not in
the file get their defaults. A service that already is as the file says does not change,
and neither do services that are not in the file.

The whole file is checked before anything is deployed. Then the services are deployed
one after the other. If one fails, the services after it stay as they are.

Exit codes are those of deploy.`,
		Example: `  parachute apply -f services.yaml --dry-run
  parachute apply -f services.yaml`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	file := cmd.Flags().StringP("file", "f", "", "`file` to read; - is standard input")
	dryRun := cmd.Flags().Bool("dry-run", false, "show what would change, and change nothing")
	output := AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		patches, err := readServices(env, *file)
		if err != nil {
			return err
		}
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		a := applier{env: env, client: c, output: *output, quiet: *quiet}
		return a.apply(cmd, patches, *dryRun)
	}
	return cmd
}

// applier makes services what a file says.
type applier struct {
	env    *Env
	client *client.Client
	output OutputFormat
	quiet  bool
}

func (a *applier) apply(cmd *cobra.Command, patches []api.Patch, dryRun bool) error {
	plans := make([]api.Plan, len(patches))
	for i, p := range patches {
		var err error
		if plans[i], err = fetchPlan(cmd.Context(), a.client, p); err != nil {
			return ofService(i, p, err)
		}
	}
	changed := false
	for i, plan := range plans {
		changed = changed || plan.Changed()
		switch {
		case dryRun && a.output == outputJSON:
			if err := json.NewEncoder(a.env.Out).Encode(plan); err != nil {
				return err
			}
		case dryRun:
			a.env.printPlan(plan)
		case !plan.Changed():
			a.unchanged(plan)
		default:
			if err := deploy(a.env, a.client, patches[i], a.output, a.quiet); err != nil {
				return ofService(i, patches[i], err)
			}
		}
	}
	if dryRun && changed {
		return errWouldChange
	}
	return nil
}

// unchanged tells of a service that is as the file says.
func (a *applier) unchanged(p api.Plan) {
	if a.output == outputJSON || a.quiet {
		return
	}
	fmt.Fprintf(a.env.Out, "%s v%d is unchanged\n", p.Service, p.Serving)
}

// ofService returns the error of the service at a place in the file, with its name.
func ofService(place int, p api.Patch, err error) error {
	name, nameErr := p.Service()
	if nameErr != nil {
		name = fmt.Sprintf("number %d", place+1)
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		e.Message = fmt.Sprintf("service %s: %s", name, e.Message)
	}
	return err
}

// readServices returns what a file says of services. Each replaces what the service has.
func readServices(env *Env, file string) ([]api.Patch, error) {
	if file == "" {
		return nil, api.Invalid("there is no file to apply").WithHint("name it with -f, or write -f - for standard input")
	}
	from := env.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, api.Invalid("%v", err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxApplyFile+1))
	switch {
	case err != nil:
		return nil, api.Invalid("%s: %v", file, err)
	case len(text) > maxApplyFile:
		return nil, api.Invalid("%s is larger than %d bytes", file, maxApplyFile)
	}
	patches, err := parseServices(text)
	if err != nil {
		return nil, api.Invalid("%s: %v", file, err)
	}
	return patches, nil
}

// parseServices reads YAML, of which JSON is a part.
func parseServices(text []byte) (patches []api.Patch, err error) {
	named := make(map[string]bool)
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document any
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF) && len(patches) == 0:
			return nil, errors.New("it contains no service")
		case errors.Is(err, io.EOF):
			return patches, nil
		case err != nil:
			return nil, err
		}
		if document == nil {
			continue // nothing between two separators
		}
		services, isList := document.([]any)
		if !isList {
			services = []any{document}
		}
		for _, service := range services {
			p, err := parseService(service)
			if err != nil {
				return nil, fmt.Errorf("service number %d: %w", len(patches)+1, err)
			}
			name, err := p.Service()
			switch {
			case err != nil:
				return nil, fmt.Errorf("service number %d: %w", len(patches)+1, err)
			case named[name]:
				return nil, fmt.Errorf("the service %s is described twice", name)
			}
			named[name] = true
			patches = append(patches, p)
		}
	}
}

func parseService(document any) (api.Patch, error) {
	b, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	p, err := api.ParsePatch(b)
	if err != nil {
		return nil, err
	}
	p.Set("reset", true)
	return p, nil
}
