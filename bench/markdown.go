package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"text/template"
)

//go:embed performance.md.tmpl
var performancePage string

// limits is the part of the page that people write.
//
//go:embed limits.md
var limits string

var performance = template.Must(template.New("performance.md").Funcs(template.FuncMap{
	"gib":  func(bytes int64) string { return fmt.Sprintf("%.0f", float64(bytes)/(1<<30)) },
	"join": func(s []string) string { return strings.Join(s, ", ") },
}).Parse(performancePage))

// page is what the template shows.
type page struct {
	*Report
	Verdicts []verdict
	Tables   []pageTable
	Notes    []string
	Errors   []string
	Limits   string
}

// pageTable is a table with its lines.
type pageTable struct {
	*Table
	Rows []row
}

// markdown returns the page docs/PERFORMANCE.md.
func (r *Report) markdown() ([]byte, error) {
	p := page{Report: r, Verdicts: r.verdicts(), Notes: r.Notes(), Errors: r.Errors(), Limits: limits}
	for _, t := range tables {
		if rows := r.rows(t); len(rows) > 0 {
			p.Tables = append(p.Tables, pageTable{t, rows})
		}
	}
	var b bytes.Buffer
	if err := performance.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("writing the page: %w", err)
	}
	return b.Bytes(), nil
}

// writeMarkdown writes the page to a file.
func (r *Report) writeMarkdown(path string) error {
	content, err := r.markdown()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}
