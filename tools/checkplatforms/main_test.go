package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatOnlyOneSystemHasIsFound in a package and in its tests, for the systems that do not have it.
func TestWhatOnlyOneSystemHasIsFound(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":          "module example.com/m\n\ngo 1.26\n",
		"a.go":            "package m\n\nfunc A() int { return onLinux() }\n",
		"a_linux.go":      "package m\n\nfunc onLinux() int { return 1 }\n",
		"b_test.go":       "package m\n\nvar _ = inTestsOnLinux\n",
		"b_linux_test.go": "package m\n\nconst inTestsOnLinux = 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	if problems, count, err := check(dir, "linux/arm64", "", []string{"."}); err != nil || len(problems) > 0 || count == 0 {
		t.Errorf("on Linux: %q in %d packages (%v)", problems, count, err)
	}
	problems, _, err := check(dir, "windows/amd64", "", []string{"."})
	all := strings.Join(problems, "\n")
	if err != nil || !strings.Contains(all, "undefined: onLinux") || !strings.Contains(all, "undefined: inTestsOnLinux") {
		t.Errorf("elsewhere: %q (%v)", problems, err)
	}
	if _, _, err := check(dir, "windows", "", []string{"."}); err == nil {
		t.Error("a system without a processor is no platform")
	}
}
