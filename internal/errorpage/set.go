package errorpage

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Set are the pages of a service, for some statuses.
type Set struct{ pages map[int]*template.Template }

// StatusOf returns the status that a file is the page of: its name is the status and .html. It is 0
// for other files, which pages can include by their names.
func StatusOf(name string) int {
	digits, ok := strings.CutSuffix(name, ".html")
	status, err := strconv.Atoi(digits)
	if !ok || err != nil || len(digits) != 3 || status < 400 || status > 599 {
		return 0
	}
	return status
}

// Parse returns the pages that files have, which are templates of [html/template] for a [Page]. It
// tries each of them.
func Parse(files map[string]string) (*Set, error) {
	all := template.New("")
	set := &Set{pages: make(map[int]*template.Template)}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		page, err := all.New(name).Parse(files[name])
		if err != nil {
			return nil, plain(err)
		}
		if status := StatusOf(name); status != 0 {
			set.pages[status] = page
		}
	}
	if len(set.pages) == 0 {
		return nil, errors.New("there is no page among the files: a page is named after its status, as in 503.html")
	}
	for status, page := range set.pages {
		for _, message := range []string{"", "message"} {
			if err := page.Execute(new(bounded), Page{Status: status, Message: message}); err != nil {
				return nil, plain(err)
			}
		}
	}
	return set, nil
}

// maxPage is how large a page may be, in bytes.
const maxPage = 1 << 20

// bounded is the text of a page that is being made.
type bounded struct{ bytes.Buffer }

// Write implements [io.Writer]. It fails behind maxPage bytes, which ends a template that would go on.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxPage {
		return 0, fmt.Errorf("the page is larger than %d KiB", maxPage>>10)
	}
	return b.Buffer.Write(p)
}

// plain returns an error of a template without what it says of Go.
func plain(err error) error {
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "template: "), "html/template:"))
}

// Render returns the page for a status; nil if there is none, which a nil set has for all.
func (s *Set) Render(p Page) ([]byte, error) {
	if s == nil || s.pages[p.Status] == nil {
		return nil, nil
	}
	var b bounded
	if err := s.pages[p.Status].Execute(&b, p); err != nil {
		return nil, fmt.Errorf("the page for %d: %w", p.Status, err)
	}
	return b.Bytes(), nil
}
