package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// graph has, for each file, the files that it uses, and the names that it uses of them. Files
// are numbers.
type graph []map[int][]string

// load returns the files of the package in a folder, without tests, and how they use each
// other.
func load(dir string) (files []string, uses graph, err error) {
	exports, err := exportData(dir)
	if err != nil {
		return nil, nil, err
	}
	listed, err := list(dir, "-f", `{{range .GoFiles}}{{.}}{{"\n"}}{{end}}`)
	if err != nil {
		return nil, nil, err
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range listed {
		file, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		parsed = append(parsed, file)
	}
	uses, err = usesOf(fset, parsed, importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	}))
	return listed, uses, err
}

// exportData returns the files with what the compiler exports of all that a package imports,
// by import path.
func exportData(dir string) (map[string]string, error) {
	lines, err := list(dir, "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}")
	exports := make(map[string]string)
	for _, line := range lines {
		path, file, _ := strings.Cut(line, "\t")
		exports[path] = file
	}
	return exports, err
}

// list returns the lines that go list prints of the package in a folder. Its flags are those
// of the Makefile, with which it has been built before.
func list(dir string, args ...string) ([]string, error) {
	cmd := exec.Command("go", append([]string{"list", "-trimpath", "-tags", "nobadger,nomysql,nopgx", "-pgo=off"}, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w: %s", dir, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

// usesOf returns how the files of a package use each other.
func usesOf(fset *token.FileSet, files []*ast.File, from types.Importer) (graph, error) {
	number := make(map[*token.File]int)
	for i, file := range files {
		number[fset.File(file.Pos())] = i
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: from}
	pkg, err := config.Check("checked", fset, files, info)
	if err != nil {
		return nil, err
	}
	uses := make(graph, len(files))
	for i := range uses {
		uses[i] = make(map[int][]string)
	}
	for ident, object := range info.Uses {
		if object.Pkg() != pkg || !isOfPackage(object) {
			continue
		}
		user, used := number[fset.File(ident.Pos())], number[fset.File(object.Pos())]
		if user != used && !slices.Contains(uses[user][used], object.Name()) {
			uses[user][used] = append(uses[user][used], object.Name())
		}
	}
	for _, of := range uses {
		for _, names := range of {
			slices.Sort(names)
		}
	}
	return uses, nil
}

// isOfPackage reports whether an object is declared by the package, or is a field or a method
// of what is, and not a variable within a function.
func isOfPackage(object types.Object) bool {
	switch o := object.(type) {
	case *types.Func:
		return true
	case *types.Var:
		return o.IsField() || o.Parent() == o.Pkg().Scope()
	case *types.TypeName, *types.Const:
		return o.Parent() == o.Pkg().Scope()
	}
	return false
}
