package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The PATH of sudo often has no Go, and what is installed is what has been built and
// tried.
func TestInstallTakesWhatIsBuiltAndNeedsNoGo(t *testing.T) {
	makeTool, err := exec.LookPath("make")
	if err != nil {
		t.Skip("there is no make")
	}
	tree := t.TempDir()
	for _, name := range []string{"Makefile", "go.mod", "go.sum"} {
		text, err := os.ReadFile("../" + name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(tree, name), text, 0o600))
	}
	must(t, os.Mkdir(filepath.Join(tree, "bin"), 0o700))
	must(t, os.WriteFile(filepath.Join(tree, "bin", "parachute"), []byte("built before"), 0o700))
	noGo := t.TempDir()
	must(t, os.WriteFile(filepath.Join(noGo, "go"), []byte("#!/bin/sh\necho 'go: not found' >&2\nexit 127\n"), 0o700))

	cmd := exec.Command(makeTool, "install", "DESTDIR="+filepath.Join(tree, "root"), "PREFIX=/usr")
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "PATH="+noGo+":"+os.Getenv("PATH"), "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	installed := filepath.Join(tree, "root", "usr", "bin", "parachute")
	text, err := os.ReadFile(installed)
	must(t, err)
	info, err := os.Stat(installed)
	must(t, err)
	if string(text) != "built before" || info.Mode().Perm() != 0o755 {
		t.Errorf("installed is %q with the mode %s", text, info.Mode())
	}
}
