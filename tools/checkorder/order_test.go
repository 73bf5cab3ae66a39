package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

func TestOrderHasEveryUseRunDownIfThatCanBe(t *testing.T) {
	uses := make(graph, 40)
	for i := range uses {
		uses[i] = make(map[int][]string)
		for j := range uses {
			// A file uses those with a smaller number, so there is one order for all of them.
			if j < i && (i+j)%3 != 0 {
				uses[i][j] = []string{"x"}
			}
		}
	}
	if back := upward(uses, order(uses)); len(back) != 0 {
		t.Errorf("%d uses run back up of files that do not use each other in a circle", len(back))
	}
}

func TestOfEachCircleOneUseRunsBackUp(t *testing.T) {
	// 0 and 1 use each other; 2, 3 and 4 use each other in a circle, and all of them 0.
	uses := graph{{1: {"a"}}, {0: {"b"}}, {3: {"c"}, 0: {"b"}}, {4: {"d"}, 0: {"b"}}, {2: {"e"}, 0: {"b"}}}
	files := order(uses)
	if back := upward(uses, files); len(back) != 2 {
		t.Errorf("%v run back up in the order %v, want 2 uses", back, files)
	}
	slices.Sort(files)
	if !slices.Equal(files, []int{0, 1, 2, 3, 4}) {
		t.Errorf("the order has the files %v", files)
	}
}

func TestUsesAreWhatTheCompilerSees(t *testing.T) {
	sources := []string{
		`package p
type engine struct{ table table }
func (e *engine) serve() int { return e.table.lookup(limit) }`,
		`package p
type table struct{ size int }
const limit = 2
func (t table) lookup(n int) int { return t.size + n }`,
		`package p
func unrelated() int { limit, table := 1, 2; return limit + table }
func grow(e *engine) { e.table.size++ }`,
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, source := range sources {
		file, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	uses, err := usesOf(fset, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := graph{
		{1: {"limit", "lookup", "table"}},
		{},
		{0: {"engine", "table"}, 1: {"size"}},
	}
	for i := range want {
		if len(uses[i]) != len(want[i]) {
			t.Errorf("file %d uses %v, want %v", i, uses[i], want[i])
		}
		for j, names := range want[i] {
			if !slices.Equal(uses[i][j], names) {
				t.Errorf("file %d uses %v of file %d, want %v", i, uses[i][j], j, names)
			}
		}
	}
}
