package run

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOnlyTheLogTouchesTheProcessStreams so that what the command says goes where cli.Env has
// it go. The log is not the command's: it lives as long as the process.
func TestOnlyTheLogTouchesTheProcessStreams(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	stream := regexp.MustCompile(`\bos\.(Stdin|Stdout|Stderr|Args|Exit)\b|\bfmt\.Print`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || slices.Contains([]string{"logs.go", "stderr.go"}, file) {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := stream.Find(source); found != nil {
			t.Errorf("%s has %s: write to what the command has been given", file, found)
		}
	}
}
