package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// cell is what a table says of one proxy in one row.
type cell struct {
	Value string // with the unit of the table
	// Ratio is what parachute has in proportion to this, or empty.
	Ratio string
	// Failed says that requests failed, so the value means little.
	Failed bool
}

// String returns the cell as tables show it.
func (c cell) String() string {
	s := c.Value
	if c.Ratio != "" {
		s += " (" + c.Ratio + ")"
	}
	if c.Failed {
		s += " !"
	}
	return s
}

// row is a line of a table.
type row struct {
	Scenario string // its name, for -run
	Title    string
	Cells    []cell // one for each of Report.Peers
}

// rows returns the lines of a table.
func (r *Report) rows(t *Table) []row {
	var rows []row
	for _, c := range r.Comparisons {
		for _, m := range c.Scenario.Metrics {
			if m.Table != t {
				continue
			}
			line := row{Scenario: c.Name, Title: c.Title}
			if m.Row != "" {
				line.Title += ": " + m.Row
			}
			for _, p := range r.Peers {
				line.Cells = append(line.Cells, c.cell(p.Name, m))
			}
			rows = append(rows, line)
		}
	}
	return rows
}

func (c *Comparison) cell(peer string, m Metric) cell {
	value, ok := c.Median(peer, m)
	if !ok {
		return cell{Value: "–", Failed: c.Errors(peer) > 0}
	}
	result := cell{Value: fmt.Sprintf("%.*f", m.Table.Digits, value), Failed: c.Errors(peer) > 0}
	shown, _ := strconv.ParseFloat(result.Value, 64)
	if ratio, ok := c.Ratio(peer, m); ok && peer != parachute && shown != 0 { // nothing in proportion to nothing
		result.Ratio = fmt.Sprintf("%.2f", ratio)
	}
	return result
}

// busyMachine is the share of all cores in percent that makes measurements too
// inaccurate when other programs use it.
const busyMachine = 10

// writeText writes all tables for a terminal.
func (r *Report) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, table := range tables {
		rows := r.rows(table)
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(t, "\n%s, %s\t", table.Title, table.Unit)
		for _, p := range r.Peers {
			fmt.Fprintf(t, "%s\t", p.Name)
		}
		fmt.Fprintln(t)
		for _, row := range rows {
			fmt.Fprintf(t, "%s\t", row.Title)
			for _, c := range row.Cells {
				fmt.Fprintf(t, "%s\t", c)
			}
			fmt.Fprintln(t)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "\nMedians; in parentheses parachute's figure in proportion to the peer's.")
	if r.Machine.Others >= busyMachine {
		fmt.Fprintf(w, "Other programs used %.0f %% of all cores meanwhile, so do not trust these figures.\n", r.Machine.Others)
	}
	for _, note := range r.Notes() {
		fmt.Fprintln(w, note)
	}
	for _, line := range r.Errors() {
		fmt.Fprintf(w, "! %s\n", line)
	}
	return nil
}
