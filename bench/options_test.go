package main

import (
	"os"
	"path/filepath"
	"testing"
)

func names(chosen []*Scenario) []string {
	var list []string
	for _, s := range chosen {
		list = append(list, s.Name)
	}
	return list
}

func TestChoosingScenarios(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "parachute")
	if err := os.WriteFile(binary, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	quick := 0
	for _, s := range scenarios {
		if s.PartOfQuick {
			quick++
		}
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{nil, len(scenarios)},
		{[]string{"-quick"}, quick},
		{[]string{"-run", "services/1"}, 1},
		{[]string{"-run", "services/1|get/.*"}, 5},
		{[]string{"-quick", "-run", "services/10000"}, 1},
		{[]string{"-run", "nothing"}, 0},
	} {
		o, err := parseOptions(append([]string{"-parachute", binary}, c.args...))
		if err != nil {
			t.Fatal(err)
		}
		if got := names(o.scenarios()); len(got) != c.want {
			t.Errorf("%v: %v", c.args, got)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "parachute")
	if err := os.WriteFile(binary, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-rounds", "0"},
		{"-duration", "0s"},
		{"-run", "("},
		{"-peers", "("},
		{"get/64"},
		{"-baseline", "/no/such/binary"},
	} {
		if _, err := parseOptions(append([]string{"-parachute", binary}, args...)); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
