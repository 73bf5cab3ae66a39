package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// table has the requests that were lost by a change, by class and proxy. Those whose connection was
// refused are none of them: how many there are says how fast the clients try again. Those that are
// rejected may be repeated by the client (RFC 9114, section 5.2).
type table struct {
	change  change
	proxies []string
	// lost has a cell by class and proxy, closed how long no connection was taken.
	lost   map[string]map[string]string
	closed []string
}

// all is the class of all requests together.
const all = "all"

func (t *table) add(proxy string, s *suffering) {
	t.proxies = append(t.proxies, proxy)
	t.closed = append(t.closed, fmt.Sprintf("%d ms", s.closed.Milliseconds()))
	lost, total, rejected := 0, 0, 0
	for class, o := range s.outcomes {
		n, of := len(o.Lost), o.Answered+len(o.Lost)+o.Rejected
		lost, total, rejected = lost+n, total+of, rejected+o.Rejected
		t.set(class, proxy, n, of, o.Rejected)
	}
	t.set(all, proxy, lost, total, rejected)
}

func (t *table) set(class, proxy string, lost, total, rejected int) {
	if t.lost[class] == nil {
		t.lost[class] = make(map[string]string)
	}
	cell := fmt.Sprintf("%d of %d", lost, total)
	if rejected > 0 {
		cell += fmt.Sprintf(", %d rejected", rejected)
	}
	t.lost[class][proxy] = cell
}

// write writes the table in Markdown.
func (t *table) write(out io.Writer, times int) {
	fmt.Fprintf(out, "\n%d times: %s\n\n| lost | %s |\n|%s\n", times, t.change, strings.Join(t.proxies, " | "), strings.Repeat(" --- |", len(t.proxies)+1))
	classes := slices.DeleteFunc(slices.Sorted(maps.Keys(t.lost)), func(class string) bool { return class == all })
	for _, class := range append(classes, all) {
		fmt.Fprintf(out, "| %s |", class)
		for _, proxy := range t.proxies {
			fmt.Fprintf(out, " %s |", cmp.Or(t.lost[class][proxy], "–"))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "| no connection was taken for | %s |\n", strings.Join(t.closed, " | "))
}
