package parachute

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/argv0"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/kamal"
	"github.com/parachute-proxy/parachute/internal/proxy"
	"github.com/parachute-proxy/parachute/internal/run"
)

// runAsKamalProxy makes cmd, which Caddy is made to run, the command line of kamal-proxy.
func runAsKamalProxy(env *cli.Env, cmd *cobra.Command) {
	argv0.Replace(append([]string{"parachute"}, env.Args...)...)
	cmd.DisableFlagParsing = true
	cmd.RunE = func(*cobra.Command, []string) error {
		start := func(args []string, c run.Compat) error { return run.StartCompat(env.Err, thisProcess, args, c) }
		kamal.Execute(env, kamal.Command(env, start, storeLegacy))
		return nil
	}
}

func newImportCommand(env *cli.Env) *cobra.Command {
	return kamal.ImportCommand(env, storeLegacy, run.LockStorage)
}

// storeLegacy puts what a kamal-proxy has left into the storage in a directory, which no proxy has
// at the moment.
func storeLegacy(dir string, l *kamal.Legacy) error {
	ctx, cancel := context.WithTimeout(context.Background(), legacyTimeout)
	defer cancel()
	s := store{storage: &certmagic.FileStorage{Path: dir}}
	now := time.Now()
	for _, service := range l.Services {
		generations, _ := s.Load(ctx, service.Name)
		var before []byte
		if len(generations) > 0 {
			before = generations[0]
		}
		document, err := documentOf(service, before, now)
		if err == nil {
			err = s.Save(ctx, service.Name, document, func([]byte) bool { return true })
		}
		if err != nil {
			return fmt.Errorf("storing the service %s: %w", service.Name, err)
		}
	}
	for _, f := range l.Files {
		if s.storage.Exists(ctx, f.Key) {
			continue // it is from the authority as well, or it is what is stored here already
		}
		if err := s.storage.Store(ctx, f.Key, f.Value); err != nil {
			return fmt.Errorf("storing %s: %w", f.Key, err)
		}
	}
	return nil
}

// legacyTimeout bounds how long it takes to store what a kamal-proxy has left.
const legacyTimeout = 5 * time.Minute

// documentOf returns what is stored of a service. If there is no document of it, it is a broken one.
func documentOf(s kamal.Service, before []byte, now time.Time) ([]byte, error) {
	if s.Broken == "" {
		i := proxy.Imported{Request: s.Request, Hold: s.Hold}
		if r := s.Rollout; r != nil {
			i.Canary = &proxy.ImportedCanary{Targets: r.Targets, ReadTargets: r.ReadTargets, By: r.By, Weight: r.Weight, Values: r.Values, Off: r.Off}
		}
		document, err := i.Document(before, now)
		if err == nil {
			return document, nil
		}
		s.Broken = "it cannot be taken over from kamal-proxy: " + err.Error()
	}
	return proxy.Imported{Request: api.DeployRequest{Service: s.Name}, Broken: s.Broken}.Document(before, now)
}
