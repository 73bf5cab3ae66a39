package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A command that writes past its Env cannot be tested, and does not know what its output
// can show.
func TestOnlyTheEnvTouchesTheProcess(t *testing.T) {
	forbidden := map[string][]string{
		"os":                {"Stdin", "Stdout", "Stderr", "Args", "Exit"},
		"fmt":               {"Print", "Printf", "Println"},
		"log":               nil,
		"golang.org/x/term": nil,
	}
	var files []string
	for _, pattern := range []string{"*.go", "../client/*.go", "../api/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		if file == "env.go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		imports := make(map[string]string)
		for _, imported := range parsed.Imports {
			path := imported.Path.Value[1 : len(imported.Path.Value)-1]
			imports[filepath.Base(path)] = path
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			names, listed := forbidden[imports[pkg.Name]]
			if listed && (names == nil || slices.Contains(names, selector.Sel.Name)) {
				t.Errorf("%s: %s.%s: take it from the Env", fset.Position(n.Pos()), pkg.Name, selector.Sel.Name)
			}
			return true
		})
	}
}

func TestCommandsAreNamedAsTheyAreCalled(t *testing.T) {
	for text, want := range map[string]string{
		"  parachute run":                      "  caddy parachute run",
		"see: parachute status shop":           "see: caddy parachute status shop",
		"with: parachute run; or":              "with: caddy parachute run; or",
		"parachute runs in front":              "parachute runs in front",
		"sudo parachute deploy web-1:3000":     "sudo caddy parachute deploy web-1:3000",
		"see: caddy parachute deploy --help":   "see: caddy parachute deploy --help",
		"chmod 700 /run/parachute":             "chmod 700 /run/parachute",
		"/usr/bin/parachute run":               "/usr/bin/parachute run",
		"no service parachute":                 "no service parachute",
		"`parachute list`, `parachute status`": "`caddy parachute list`, `caddy parachute status`",
	} {
		if got := (&Env{prefix: "caddy "}).named(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
		if got := (&Env{}).named(text); got != text {
			t.Errorf("%q becomes %q in parachute itself", text, got)
		}
	}
}
