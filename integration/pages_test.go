package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// pages returns the README and the pages for users and developers, by their names.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	must(t, err)
	top, err := filepath.Glob("../*.md")
	must(t, err)
	all := make(map[string]string)
	for _, name := range append(names, top...) {
		text, err := os.ReadFile(name)
		must(t, err)
		all[name] = string(text)
	}
	return all
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// A link that leads nowhere ends the reading.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	all := pages(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	code := regexp.MustCompile("(?s)```.*?```")
	notInAnchors := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	anchors := make(map[string]map[string]bool)
	for name, text := range all {
		anchors[name] = make(map[string]bool)
		for _, m := range heading.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			anchors[name][strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
		}
	}
	links := 0
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if !exists(target) {
				t.Errorf("%s: there is no %s", name, m[1])
			} else if anchor != "" && !anchors[target][anchor] {
				t.Errorf("%s: %s has no such heading", name, m[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found, and this test shows little", links)
	}
}

// Whoever looks for a message looks for it as it is printed.
func TestTroubleshootingQuotesMessagesThatExist(t *testing.T) {
	var messages strings.Builder
	verb := regexp.MustCompile(`%\.?\d*[a-z]`)
	walkSources(t, func(path string, entry fs.DirEntry) {
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || entry.IsDir() {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, _ := strconv.Unquote(literal.Value)
				text = regexp.MustCompile(`%(\.\d+)?q`).ReplaceAllString(text, `"…"`)
				messages.WriteString(verb.ReplaceAllString(text, "…") + "\n")
			}
			return true
		})
	})
	// What is in no text of ours: statuses of HTTP, kinds of ACME errors, and others' words.
	foreign := regexp.MustCompile(`^\d\d\d |^tls: |^http2: |^unknown flag: |^[a-zA-Z]+$`)
	page, err := os.ReadFile("../docs/TROUBLESHOOTING.md")
	must(t, err)
	quote := regexp.MustCompile("`([^`]+)`")
	quotes := 0
	for line := range strings.SplitSeq(string(page), "\n") {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") && !strings.HasPrefix(line, "| 4") && !strings.HasPrefix(line, "| 5") {
			continue
		}
		column := cells[0]
		if strings.HasPrefix(line, "| 4") || strings.HasPrefix(line, "| 5") {
			column = cells[1] + cells[2]
		}
		for _, m := range quote.FindAllStringSubmatch(column, -1) {
			if foreign.MatchString(m[1]) {
				continue
			}
			for part := range strings.SplitSeq(m[1], "…") {
				quotes++
				if part = strings.Trim(part, ` ":;,()`); !strings.Contains(messages.String(), part) {
					t.Errorf("no message has %q, of: %s", part, m[1])
				}
			}
		}
	}
	if quotes < 100 {
		t.Errorf("only %d quotes were found, and this test shows little", quotes)
	}
}

// An option that no page has is an option that nobody finds.
func TestEveryOptionIsOnAPage(t *testing.T) {
	p := newProxy(t)
	var text strings.Builder
	for _, page := range pages(t) {
		text.WriteString(page)
	}
	option := regexp.MustCompile(`(?m)^ {2,}(?:-\w, )?(--[a-z-]+)`)
	options := 0
	for _, command := range []string{"deploy", "run", "apply", "wait", "list", "remove"} {
		for _, m := range option.FindAllStringSubmatch(run(t, p, "help", command).Stdout, -1) {
			options++
			if !regexp.MustCompile(regexp.QuoteMeta(m[1]) + `\b`).MatchString(text.String()) {
				t.Errorf("%s of %s is on no page", m[1], command)
			}
		}
	}
	if options < 50 {
		t.Errorf("only %d options were found, and this test shows little", options)
	}
}
