package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const module = "example.org/p"

// A table like the real one: the contract below the engine, the engine below the root.
var table = map[string]layer{
	"internal/api":   {why: "the contract is for all"},
	"internal/proxy": {ours: []string{"internal/api"}, outside: []string{"example.org/log"}, why: "the engine knows no host"},
	".":              {ours: []string{"internal/api", "internal/proxy"}, host: true, why: "the root joins"},
}

func TestWhatTheTableAllowsIsNotReported(t *testing.T) {
	problems := checkLayers(module, []goPackage{
		{"net/http", true, nil},
		{"example.org/log", false, []string{"net/http"}},
		{"github.com/caddyserver/caddy", false, []string{"net/http"}},
		{module + "/internal/api", false, []string{"net/http"}},
		{module + "/internal/proxy", false, []string{"net/http", "example.org/log", module + "/internal/api"}},
		{module, false, []string{module + "/internal/proxy", "github.com/caddyserver/caddy", "example.org/anything"}},
	}, table)
	if problems != nil {
		t.Errorf("got %q", problems)
	}
}

func TestReachingTheHostIsReportedHoweverFarItIs(t *testing.T) {
	problems := checkLayers(module, []goPackage{
		{"example.org/log", false, []string{"github.com/spf13/cobra"}},
		{"github.com/spf13/cobra", false, []string{"github.com/spf13/pflag"}},
		{module + "/internal/proxy", false, []string{"example.org/log", "github.com/prometheus/client"}},
	}, table)
	want := []string{
		"internal/proxy must not reach github.com/prometheus/client, which example.org/p/internal/proxy imports: the engine knows no host",
		"internal/proxy must not reach github.com/spf13/cobra, which example.org/log imports: the engine knows no host",
	}
	if !slices.Equal(problems, want) {
		t.Errorf("got %q, want %q", problems, want)
	}
}

func TestPackagesWithoutALayerAreReported(t *testing.T) {
	problems := checkLayers(module, []goPackage{{module + "/internal/new", false, nil}}, table)
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "internal/new is in no layer") {
		t.Errorf("got %q", problems)
	}
}

// In each layer of the real table, an import of each package above it and of a stranger
// is caught.
func TestAWrongImportIsCaughtInEachLayer(t *testing.T) {
	for name, l := range layers {
		for above := range layers {
			if above == name || slices.Contains(l.ours, above) {
				continue
			}
			wantCaught(t, name, importPath(above), fmt.Sprintf("%s must not import %s: %s", name, importPath(above), l.why))
		}
		if !l.host {
			wantCaught(t, name, "example.org/stranger", fmt.Sprintf("%s must not import example.org/stranger: %s", name, l.why))
			wantCaught(t, name, "github.com/spf13/cobra", fmt.Sprintf("%s must not reach github.com/spf13/cobra, which %s imports: %s", name, importPath(name), l.why))
		}
	}
}

func wantCaught(t *testing.T, name, imported, want string) {
	t.Helper()
	problems := checkLayers(module, []goPackage{{importPath(name), false, []string{imported}}}, layers)
	if !slices.Equal(problems, []string{want}) {
		t.Errorf("%s imports %s: got %q, want %q", name, imported, problems, want)
	}
}

func importPath(name string) string { return strings.TrimSuffix(module+"/"+name, "/.") }

// No two packages may import each other, by whatever way: the table is the order.
func TestTheTableHasNoCycles(t *testing.T) {
	var visit func(name string, path []string)
	visit = func(name string, path []string) {
		if slices.Contains(path, name) {
			t.Fatalf("%q", append(path, name))
		}
		for _, below := range layers[name].ours {
			if _, listed := layers[below]; !listed {
				t.Errorf("%s may import %s, which is in no layer", name, below)
			}
			visit(below, append(slices.Clone(path), name))
		}
	}
	for name := range layers {
		visit(name, nil)
	}
}
