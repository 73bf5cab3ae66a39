package rig

import (
	"os/exec"
	"strings"
	"testing"
)

// A race in the proxy that no test looks for is still found when all tests have ended.
// The program here stands for the proxy: it races, nobody reads what it writes, and
// nobody looks at its exit code.
func TestRaceOfAProgramIsFound(t *testing.T) {
	if !RaceEnabled {
		t.Skip("skipped: without the race detector there are no reports")
	}
	t.Cleanup(RemoveBinaries)
	t.Setenv("GORACE", "")
	all, err := WatchForRaces()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		all.Remove()
		races = nil
	})
	racy, err := Build("racy", "./integration/rig/testdata/racy")
	if err != nil {
		t.Fatal(err)
	}
	if err := all.All(); err != nil {
		t.Fatalf("before anything has run: %v", err)
	}
	cmd := exec.Command(racy)
	_ = cmd.Run()
	pid := cmd.Process.Pid
	for name, err := range map[string]error{"of the process": all.Of(pid), "of all": all.All()} {
		if err == nil || !strings.Contains(err.Error(), "DATA RACE") || !strings.Contains(err.Error(), "testdata/racy/main.go") {
			t.Errorf("the races %s are %v", name, err)
		}
	}
	if err := all.Of(pid + 1); err != nil {
		t.Errorf("another process has races: %v", err)
	}
}
