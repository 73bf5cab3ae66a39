// Command checkdeps enforces what parachute may depend on. It takes the
// directory of the root module and reports every breach of two rules:
//
//   - Imports point one way. Which package may import which is a table, layers; most
//     packages may not reach Caddy, Prometheus or cobra either, whether directly or
//     through another package.
//   - The root module is merged into the Caddy build of everyone who uses the
//     plugin. So it stays at the versions that Caddy itself requires, and
//     brings no module along that Caddy does not.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"os"
	"os/exec"
)

const caddyModule = "github.com/caddyserver/caddy/v2"

// extraModules are the modules that the root module may require although Caddy
// does not, each with the reason that outweighs what it costs every user.
var extraModules = map[string]string{}

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	problems, err := check(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkdeps:", err)
		os.Exit(2)
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, "checkdeps:", p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func check(dir string) ([]string, error) {
	var packages []goPackage
	err := goJSON(&packages, dir, "list", "-pgo=off", "-deps", "-json=ImportPath,Standard,Imports", ".", "./internal/...", "./caddy/...")
	if err != nil {
		return nil, err
	}

	var root, caddy []goMod
	if err := goJSON(&root, dir, "mod", "edit", "-json"); err != nil {
		return nil, err
	}
	var module []struct{ GoMod string }
	if err := goJSON(&module, dir, "list", "-m", "-json", caddyModule); err != nil {
		return nil, err
	}
	if err := goJSON(&caddy, dir, "mod", "edit", "-json", module[0].GoMod); err != nil {
		return nil, err
	}

	return append(checkLayers(root[0].Module.Path, packages, layers), checkPins(root[0], caddy[0])...), nil
}

// goMod is what checkdeps needs of `go mod edit -json`.
type goMod struct {
	Module  goModule
	Go      string
	Require []goModule
	Replace []struct{ Old goModule }
	Exclude []goModule
}

type goModule struct{ Path, Version string }

// checkPins compares what root requires with what Caddy requires.
func checkPins(root, caddy goMod) []string {
	var problems []string
	report := func(format string, args ...any) {
		problems = append(problems, "go.mod "+fmt.Sprintf(format, args...))
	}

	if version.Compare("go"+root.Go, "go"+caddy.Go) > 0 {
		report("asks for go %s, Caddy for go %s", root.Go, caddy.Go)
	}

	pins := make(map[string]string, len(caddy.Require))
	for _, m := range caddy.Require {
		pins[m.Path] = m.Version
	}
	for _, m := range root.Require {
		pin, pinned := pins[m.Path]
		_, allowed := extraModules[m.Path]
		switch {
		case m.Path == caddyModule:
		case !pinned && !allowed:
			report("requires %s, which Caddy does not", m.Path)
		case pinned && m.Version != pin:
			report("requires %s %s, Caddy %s", m.Path, m.Version, pin)
		}
	}

	// Go obeys these two in the main module only: our tests would run on other
	// code than our users do.
	for _, r := range root.Replace {
		report("replaces %s", r.Old.Path)
	}
	for _, m := range root.Exclude {
		report("excludes %s %s", m.Path, m.Version)
	}
	return problems
}

// goJSON runs the go command in dir and appends the JSON values that it prints
// to *out.
func goJSON[T any](out *[]T, dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	stdout, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("running %s: %w", cmd, err)
	}
	for dec := json.NewDecoder(bytes.NewReader(stdout)); ; {
		var value T
		switch err := dec.Decode(&value); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the output of %s: %w", cmd, err)
		}
		*out = append(*out, value)
	}
}
