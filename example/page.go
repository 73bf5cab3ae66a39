package main

import (
	_ "embed"
	"fmt"
	"hash/fnv"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// page introduces the instance: as HTML to browsers, as text to anyone else.
func (a *app) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	headers := headerLines(r)
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "%s, version %s\n\n%s %s %s\n", a.name, a.version, r.Method, r.RequestURI, r.Proto)
		for _, h := range headers {
			fmt.Fprintf(w, "%s: %s\n", h.Name, h.Value)
		}
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = pageTemplate.Execute(w, map[string]any{ // fails only when the client has gone
		"Name":    a.name,
		"Version": a.version,
		"Hue":     hue(a.name, a.version),
		"Request": fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, r.Proto),
		"Headers": headers,
	})
}

type headerLine struct{ Name, Value string }

// headerLines returns the request's headers, the host first, the others sorted.
func headerLines(r *http.Request) []headerLine {
	lines := []headerLine{{"Host", r.Host}}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			lines = append(lines, headerLine{name, value})
		}
	}
	return lines
}

// hue gives each instance a colour, in degrees, so that a switch catches the eye.
func hue(name, version string) uint32 {
	hash := fnv.New32a()
	hash.Write([]byte(name + " " + version))
	return hash.Sum32() % 360
}
