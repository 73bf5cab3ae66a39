package cli

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// column is a column of a table.
type column struct {
	title string
	// least is the width that the column can be shortened to; 0 means that it cannot.
	least int
	// dropped says when the column is left out if the table is too wide: the one with
	// the highest number goes first, and 0 stays.
	dropped int
}

// table is text in columns.
type table struct {
	columns []column
	rows    [][]string
}

// columnGap is the space between two columns.
const columnGap = 2

// add adds a row with a cell for each column.
func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table so that no line is longer than width, if that is not 0: columns
// are shortened, the widest first, then left out, and then lines are cut.
func (t *table) print(w io.Writer, width int) error {
	widths := t.fit(width)
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	var out strings.Builder
	for _, row := range append([][]string{titles}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			if widths[i] < 0 {
				continue
			}
			if line.Len() > 0 {
				line.WriteString(strings.Repeat(" ", columnGap))
			}
			cell = shorten(cell, widths[i])
			line.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		text := strings.TrimRight(line.String(), " ")
		if width > 0 {
			text = shorten(text, width)
		}
		out.WriteString(text + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// fit returns the width of each column, -1 for one that is left out.
func (t *table) fit(width int) []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	if width == 0 {
		return widths
	}
	// With one column less, the others may have their width again.
	for natural := widths; ; {
		widths = slices.Clone(natural)
		for total(widths) > width && t.narrow(widths, total(widths)-width) {
			continue
		}
		if total(widths) <= width || !t.drop(natural) {
			return widths
		}
	}
}

// narrow takes up to excess away from the widest column that can be shortened, but no
// more than makes the next one the widest. It returns false if there is none.
func (t *table) narrow(widths []int, excess int) bool {
	widest, next := -1, 0
	for i, c := range t.columns {
		if c.least == 0 || widths[i] <= c.least {
			continue
		}
		switch {
		case widest < 0 || widths[i] > widths[widest]:
			if widest >= 0 {
				next = widths[widest]
			}
			widest = i
		case widths[i] > next:
			next = widths[i]
		}
	}
	if widest < 0 {
		return false
	}
	widths[widest] -= min(excess, widths[widest]-t.columns[widest].least, max(1, widths[widest]-next))
	return true
}

// drop leaves out the next column. It returns false if all that are left stay.
func (t *table) drop(widths []int) bool {
	next := -1
	for i, c := range t.columns {
		if c.dropped > 0 && widths[i] >= 0 && (next < 0 || c.dropped > t.columns[next].dropped) {
			next = i
		}
	}
	if next < 0 {
		return false
	}
	widths[next] = -1
	return true
}

// total returns the width of a line.
func total(widths []int) int {
	sum := -columnGap
	for _, w := range widths {
		if w >= 0 {
			sum += w + columnGap
		}
	}
	return sum
}

// shorten cuts a text to a width, and shows where.
func shorten(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width-1, 0)]) + "…"
}
