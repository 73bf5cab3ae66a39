package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// The PATH of sudo often has no Go, and what is installed is what has been built and
// tried.
func TestInstallTakesWhatIsBuiltAndNeedsNoGo(t *testing.T) {
	makeTool, err := exec.LookPath("make")
	if err != nil {
		t.Skip("there is no make")
	}
	tree := t.TempDir()
	copySources(t, tree)
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

// copySources copies what `make install` reads, but for the binary.
func copySources(t *testing.T, tree string) {
	t.Helper()
	for _, dir := range []string{"bin", "docs"} {
		must(t, os.Mkdir(filepath.Join(tree, dir), 0o700))
	}
	for _, name := range []string{"Makefile", "go.mod", "go.sum", "docs/parachute.service", "docs/parachute.socket", "docs/parachute.sysusers", "docs/parachute.tmpfiles"} {
		text, err := os.ReadFile("../" + name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(tree, name), text, 0o600))
	}
}

func TestInstallBringsServiceManualAndCompletions(t *testing.T) {
	makeTool, err := exec.LookPath("make")
	if err != nil {
		t.Skip("there is no make")
	}
	if runtime.GOOS != "linux" {
		t.Skip("there is no systemd")
	}
	bin, err := rig.ParachuteBinary()
	must(t, err)
	tree := t.TempDir()
	copySources(t, tree)
	must(t, os.Symlink(bin, filepath.Join(tree, "bin", "parachute")))
	root := filepath.Join(tree, "root")
	runMake := func(target string) {
		t.Helper()
		cmd := exec.Command(makeTool, target, "DESTDIR="+root, "PREFIX=/usr")
		cmd.Dir, cmd.Env = tree, append(os.Environ(), "MAKEFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	runMake("install")
	for name, want := range map[string]string{
		"lib/systemd/system/parachute.service":           "ExecStart=/usr/bin/parachute run ",
		"lib/sysusers.d/parachute.conf":                  "u parachute ",
		"lib/tmpfiles.d/parachute.conf":                  "d /var/lib/parachute 0700 ",
		"share/man/man8/parachute.8":                     "parachute",
		"share/man/man8/parachute-deploy.8":              "health-check-path",
		"share/bash-completion/completions/parachute":    "__start_parachute",
		"share/zsh/site-functions/_parachute":            "#compdef parachute",
		"share/fish/vendor_completions.d/parachute.fish": "complete -c parachute",
	} {
		path := filepath.Join(root, "usr", name)
		text, err := os.ReadFile(path)
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		if !strings.Contains(string(text), want) || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s, with the mode %s, lacks %q:\n%.500s", name, info.Mode(), want, text)
		}
	}
	runMake("uninstall")
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	}))
}
