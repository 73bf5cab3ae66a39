package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Whoever is about to change something looks for the files that are named.
func TestArchitectureNamesFilesThatExist(t *testing.T) {
	exists := make(map[string]bool)
	must(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		exists[filepath.Base(path)] = true
		return err
	}))
	text, err := os.ReadFile("../docs/ARCHITECTURE.md")
	must(t, err)
	names := regexp.MustCompile(`[a-z_A-Z]+\.(?:go|md|yaml)\b`).FindAllString(string(text), -1)
	for _, name := range names {
		if !exists[name] && name != "cmd.go" { // as in *cmd.go
			t.Errorf("there is no %s", name)
		}
	}
	if len(names) == 0 {
		t.Error("it names no file, and this test shows nothing")
	}
}

func TestEveryFormOfTargetIsDocumented(t *testing.T) {
	p := newProxy(t)
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	description, err := os.ReadFile("../docs/openapi.yaml")
	must(t, err)
	for where, text := range map[string]string{
		"README.md": string(readme), "openapi.yaml": string(description), "help deploy": run(t, p, "help", "deploy").Stdout,
	} {
		for _, form := range []string{"host:port", "http://host:port", "https://host:port", "h2c://host:port", "unix//"} {
			if !strings.Contains(text, form) {
				t.Errorf("%s lacks %s", where, form)
			}
		}
	}
}
