package main

import (
	"slices"
	"testing"
)

func TestLeavingCaddysPinsIsReported(t *testing.T) {
	caddy := goMod{Go: "1.26.0", Require: []goModule{{"example.org/a", "v1.0.0"}, {"example.org/b", "v1.0.0"}}}
	caddyItself := goModule{caddyModule, "v2.11.9"}

	for name, tc := range map[string]struct {
		root goMod
		want []string
	}{
		"same versions": {
			root: goMod{Go: "1.25", Require: []goModule{caddyItself, {"example.org/a", "v1.0.0"}}},
		},
		"newer module": {
			root: goMod{Go: "1.26.0", Require: []goModule{caddyItself, {"example.org/b", "v1.0.1"}}},
			want: []string{"go.mod requires example.org/b v1.0.1, Caddy v1.0.0"},
		},
		"older module": {
			root: goMod{Go: "1.26.0", Require: []goModule{{"example.org/b", "v0.9.0"}}},
			want: []string{"go.mod requires example.org/b v0.9.0, Caddy v1.0.0"},
		},
		"module of our own": {
			root: goMod{Go: "1.26.0", Require: []goModule{{"example.org/c", "v1.0.0"}}},
			want: []string{"go.mod requires example.org/c, which Caddy does not"},
		},
		"newer Go": {
			root: goMod{Go: "1.26.1"},
			want: []string{"go.mod asks for go 1.26.1, Caddy for go 1.26.0"},
		},
		"replace and exclude": {
			root: goMod{
				Go:      "1.26.0",
				Replace: []struct{ Old goModule }{{goModule{"example.org/a", ""}}},
				Exclude: []goModule{{"example.org/b", "v1.0.1"}},
			},
			want: []string{"go.mod replaces example.org/a", "go.mod excludes example.org/b v1.0.1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := checkPins(tc.root, caddy); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
