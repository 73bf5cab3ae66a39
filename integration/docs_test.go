package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// walkSources visits what is in the repository, but for what is built.
func walkSources(t *testing.T, visit func(path string, entry fs.DirEntry)) {
	t.Helper()
	must(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		visit(path, entry)
		return nil
	}))
}

// Whoever is about to change something looks for the files that are named.
func TestArchitectureNamesFilesThatExist(t *testing.T) {
	exists := make(map[string]bool)
	walkSources(t, func(path string, _ fs.DirEntry) { exists[filepath.Base(path)] = true })
	text, err := os.ReadFile("../docs/ARCHITECTURE.md")
	must(t, err)
	names := regexp.MustCompile(`[a-z_A-Z0-9]+\.(?:go|md|yaml)\b`).FindAllString(string(text), -1)
	for _, name := range names {
		if !exists[name] {
			t.Errorf("there is no %s", name)
		}
	}
	if len(names) == 0 {
		t.Error("it names no file, and this test shows nothing")
	}
}

// The tests that guard an assumption are looked for by their names, and a package that is
// not on the map is not found at all.
func TestArchitectureKnowsTestsAndPackages(t *testing.T) {
	var sources strings.Builder
	var packages []string
	walkSources(t, func(path string, entry fs.DirEntry) {
		switch {
		case entry.IsDir() && filepath.Dir(path) == filepath.Join("..", "internal"):
			packages = append(packages, "internal/"+entry.Name())
		case strings.HasSuffix(path, "_test.go"):
			b, err := os.ReadFile(path)
			must(t, err)
			sources.Write(b)
		}
	})
	text, err := os.ReadFile("../docs/ARCHITECTURE.md")
	must(t, err)
	tests := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	for _, m := range tests {
		if !strings.Contains(sources.String(), "func "+m[1]+"(") {
			t.Errorf("there is no test %s", m[1])
		}
	}
	for _, name := range packages {
		if !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("%s is in no row of the table of folders", name)
		}
	}
	if len(tests) == 0 || len(packages) == 0 {
		t.Error("nothing was found, and this test shows nothing")
	}
}

func TestEveryFormOfTargetIsDocumented(t *testing.T) {
	p := newProxy(t)
	page, err := os.ReadFile("../docs/DEPLOYING.md")
	must(t, err)
	description, err := os.ReadFile("../docs/openapi.yaml")
	must(t, err)
	for where, text := range map[string]string{
		"DEPLOYING.md": string(page), "openapi.yaml": string(description), "help deploy": run(t, p, "help", "deploy").Stdout,
	} {
		for _, form := range []string{"host:port", "http://host:port", "https://host:port", "h2c://host:port", "unix//"} {
			if !strings.Contains(text, form) {
				t.Errorf("%s lacks %s", where, form)
			}
		}
	}
}

// The engine speaks of settings by their names in JSON. The command line, which is one of
// its clients, turns them into flags.
func TestTheEngineSpeaksOfNoFlags(t *testing.T) {
	flag := regexp.MustCompile(`(^|[^-\w])--[a-z]`)
	literals := 0
	for _, dir := range []string{"../internal/api", "../internal/proxy", "../internal/forward"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		must(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			must(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if ok && literal.Kind == token.STRING {
					if literals++; flag.MatchString(literal.Value) {
						t.Errorf("%s has %s", name, literal.Value)
					}
				}
				return true
			})
		}
	}
	if literals < 100 {
		t.Errorf("only %d texts were found, and this test shows little", literals)
	}
}
