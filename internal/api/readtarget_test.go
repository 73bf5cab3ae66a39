package api

import (
	"slices"
	"testing"
)

// Instances that only read belong to a release as the others do: the next deploy names its own.
func TestReadTargetsLeaveWithTheTargetsThatTheyCameWith(t *testing.T) {
	s, err := DeployRequest{Targets: []string{"web:1"}, ReadTargets: []string{"replica:1"}, ReadTargetWebSockets: true}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	for patch, want := range map[string][]string{
		`{}`:                    {"replica:1"},
		`{"hold_timeout":"1s"}`: {"replica:1"},
		`{"targets":["web:2"]}`: nil,
		`{"targets":["web:2"],"read_targets":["replica:2"]}`: {"replica:2"},
		`{"read_targets":["replica:2"]}`:                     {"replica:2"},
		`{"read_targets":null}`:                              nil,
	} {
		p, err := ParsePatch([]byte(patch))
		if err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		req, err := p.Apply(&s)
		if err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		got, err := req.Resolve()
		if err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		if names := TargetNames(got.ReadTargets); !slices.Equal(names, want) || got.Options.ReadTargetWebSockets != (want != nil) {
			t.Errorf("%s: read targets %q, WebSockets %t; want %q", patch, names, got.Options.ReadTargetWebSockets, want)
		}
	}
}

func TestReadTargetsThatMeanNothingAreRefused(t *testing.T) {
	for want, req := range map[string]DeployRequest{
		`target "web:1" is named twice`:                 {ReadTargets: []string{"web:1"}},
		`target "a:1" is named twice`:                   {ReadTargets: []string{"a:1", "a:1"}},
		"`read_target_websockets` needs `read_targets`": {ReadTargetWebSockets: true},
	} {
		req.Targets = []string{"web:1"}
		if err := req.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
