package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// table has the requests that were lost by a change, by class and proxy. Those whose connection was
// refused are none of them: how many there are says how fast the clients try again.
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
	lost, total := 0, 0
	for class, o := range s.outcomes {
		n, of := len(o.Lost), o.Answered+len(o.Lost)
		lost, total = lost+n, total+of
		t.set(class, proxy, n, of)
	}
	t.set(all, proxy, lost, total)
}

func (t *table) set(class, proxy string, lost, total int) {
	if t.lost[class] == nil {
		t.lost[class] = make(map[string]string)
	}
	t.lost[class][proxy] = fmt.Sprintf("%d of %d", lost, total)
}

// write writes the table in Markdown.
func (t *table) write(out io.Writer, times int) {
	fmt.Fprintf(out, "\n%d times: %s\n\n| lost | %s |\n|%s\n", times, t.change, strings.Join(t.proxies, " | "), strings.Repeat(" --- |", len(t.proxies)+1))
	classes := slices.DeleteFunc(slices.Sorted(maps.Keys(t.lost)), func(class string) bool { return class == all })
	for _, class := range append(classes, all) {
		fmt.Fprintf(out, "| %s |", class)
		for _, proxy := range t.proxies {
			fmt.Fprintf(out, " %s |", t.lost[class][proxy])
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "| no connection was taken for | %s |\n", strings.Join(t.closed, " | "))
}
