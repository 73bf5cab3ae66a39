package handlers

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/parachute-proxy/parachute/internal/api"
)

// fileName is what directives are called in what Caddy says of them.
const fileName = "with"

// lineError is what is wrong in a line of directives.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func wrong(t caddyfile.Token, format string, args ...any) error {
	return &lineError{t.Line, fmt.Sprintf(format, args...)}
}

// snippet are the directives of a service, as tokens that know the lines they are in.
type snippet struct {
	// directives are those of the service's requests, errors the handle_errors, and matchers
	// the named ones, which both may use.
	directives, errors, matchers []caddyfile.Segment
}

// parseSnippet reads directives. What it returns is a part of a block, whatever is in text.
func parseSnippet(text string) (*snippet, error) {
	tokens, err := caddyfile.Tokenize([]byte(text), fileName)
	if err != nil {
		return nil, err
	}
	segments, err := split(tokens)
	if err != nil {
		return nil, err
	}
	s := new(snippet)
	for _, segment := range segments {
		switch name := segment.Directive(); {
		case strings.HasPrefix(name, "@"):
			s.matchers = append(s.matchers, segment)
		case name == "handle_errors":
			s.errors = append(s.errors, segment)
		case isSiteAddress(name):
			return nil, wrong(segment[0], "%.64s is the address of a site: write only what is inside its block; the hosts of the service are those of %s", name, api.Field("hosts"))
		default:
			s.directives = append(s.directives, segment)
		}
	}
	if len(s.directives)+len(s.errors) == 0 {
		return nil, &lineError{1, "there is no directive"}
	}
	return s, nil
}

// isSiteAddress reports whether the first word of a line is what a site of a Caddyfile begins with. No
// directive has a name like that.
func isSiteAddress(word string) bool {
	return strings.ContainsAny(word, ".:*/") || strings.TrimRight(word, ",") == "localhost"
}

// append adds the directives of another snippet behind those of s.
func (s *snippet) append(t *snippet) {
	s.matchers = append(s.matchers, t.matchers...)
	s.directives = append(s.directives, t.directives...)
	s.errors = append(s.errors, t.errors...)
}

// Bounds of what Caddy adapts. It copies the tokens of a block for each block around it, so a
// small text could cost a lot of memory and time.
const (
	maxDepth      = 32
	maxDirectives = 2000
)

// openBlock is a block that is not closed yet: its brace, and the first word of its line.
type openBlock struct {
	brace caddyfile.Token
	name  string
}

// split divides tokens into directives with their blocks. Braces are where Caddy's parser
// takes them for braces, and nowhere else.
func split(tokens []caddyfile.Token) (segments []caddyfile.Segment, err error) {
	var around []openBlock
	var name string // the first word of the line
	directives := 0
	for i, t := range tokens {
		first := i == 0 || endOf(tokens[i-1]) < t.Line
		last := i == len(tokens)-1 || endOf(t) < tokens[i+1].Line
		opens, closes := t.Text == "{" && !t.Quoted(), t.Text == "}" && !t.Quoted()
		depth := len(around)
		if first {
			name = t.Text
			if depth == 0 || around[depth-1].name != "map" { // the lines of a map are values
				directives++
			}
		}
		switch {
		case strings.Contains(t.Text, "{$"):
			return nil, wrong(t, "{$...} stands for a variable in the environment of the proxy, which is not for services")
		case first && !t.Quoted() && t.Text == "import":
			return nil, wrong(t, "import is not for services: put the directives here")
		case opens && (first || !last):
			return nil, wrong(t, "an opening brace must be the last word of a line, behind others")
		case closes && (!first || !last):
			return nil, wrong(t, "a closing brace must be alone in its line")
		case closes && depth == 0:
			return nil, wrong(t, "this brace closes nothing")
		case opens && depth == maxDepth:
			return nil, wrong(t, "there can be at most %d braces within each other", maxDepth)
		case directives > maxDirectives:
			return nil, wrong(t, "there can be at most %d lines, besides those of maps", maxDirectives)
		}
		if depth == 0 && first {
			segments = append(segments, nil)
		}
		segments[len(segments)-1] = append(segments[len(segments)-1], t)
		switch {
		case opens:
			around = append(around, openBlock{t, name})
		case closes:
			around = around[:depth-1]
		}
	}
	if len(around) > 0 {
		return nil, wrong(around[len(around)-1].brace, "this brace is not closed")
	}
	return segments, nil
}

// endOf returns the line that a token ends in.
func endOf(t caddyfile.Token) int { return t.Line + t.NumLineBreaks() }

// block returns the server block that has the directives in a route, so that they are done in
// the order in which they are written, and the error handling beside it.
func (s *snippet) block() caddyfile.ServerBlock {
	word := func(text string, line int) caddyfile.Token {
		return caddyfile.Token{File: fileName, Line: line, Text: text}
	}
	end := 0
	route := caddyfile.Segment{word("route", 0), word("{", 0)}
	b := caddyfile.ServerBlock{HasBraces: true, Keys: []caddyfile.Token{word(":1", 0)}}
	for _, list := range [][]caddyfile.Segment{s.matchers, s.directives, s.errors} {
		for _, segment := range list {
			end = max(end, endOf(segment[len(segment)-1]))
		}
	}
	b.Segments = append(b.Segments, cloned(s.matchers)...)
	for _, segment := range cloned(s.directives) {
		route = append(route, segment...)
	}
	if len(s.directives) > 0 {
		b.Segments = append(b.Segments, append(route, word("}", end+1)))
	}
	b.Segments = append(b.Segments, cloned(s.errors)...)
	return b
}

// cloned returns segments that the adapter may change.
func cloned(segments []caddyfile.Segment) []caddyfile.Segment {
	all := make([]caddyfile.Segment, len(segments))
	for i, segment := range segments {
		for _, t := range segment {
			all[i] = append(all[i], t.Clone())
		}
	}
	return all
}

// all returns the directives and then the handle_errors.
func (s *snippet) all() []caddyfile.Segment { return slices.Concat(s.directives, s.errors) }

// part returns those of all from one number to before another, beside the named matchers.
func (s *snippet) part(from, to int) *snippet {
	n := len(s.directives)
	return &snippet{
		matchers:   s.matchers,
		directives: s.directives[min(from, n):min(to, n)],
		errors:     s.errors[max(from-n, 0):max(to-n, 0)],
	}
}

var (
	place        = regexp.MustCompile(`(?:, at )?\b` + fileName + `:(\d+)(?:: )?`)
	unrecognized = regexp.MustCompile(`unrecognized directive: (\S+)`)
	notRoute     = regexp.MustCompile(`(\w+) directive returned something other than an HTTP route`)
	around       = regexp.MustCompile(`^(?:(?:parsing caddyfile tokens for|loading module|module name) '[\w.]+': |provision [\w.]+: |setting up (?:error )?subroutes: |` +
		`loading (?:handler|matcher) modules: |loading authentication providers: |position \d+: |route \d+: )+`)
	noEncoder = regexp.MustCompile(`module not registered: http\.encoders\.([^\s,]+)`)
	inside    = regexp.MustCompile(` - are you sure your Caddyfile structure \(nesting and braces\) is correct\?`)
)

// locate returns what Caddy says of a directive with the line that it says it of.
func locate(segment caddyfile.Segment, err error) error {
	text := err.Error()
	from, to := segment[0].Line, endOf(segment[len(segment)-1])
	line := from
	if found := place.FindStringSubmatch(text); found != nil { // the first is the innermost
		if n, _ := strconv.Atoi(found[1]); from <= n && n <= to {
			line = n
		}
	}
	if name := unrecognized.FindStringSubmatch(text); name != nil { // said of the end of the block
		line = lineThatBeginsWith(name[1], segment, line)
	}
	if account, ok := errors.AsType[*accountError](err); ok {
		line = lineThatBeginsWith(account.name, segment, line)
	}
	if name := notRoute.FindStringSubmatch(text); name != nil {
		return &lineError{line, "the directive " + name[1] + " is for whole sites, and not for what requests pass"}
	}
	return &lineError{line, short(text)}
}

// lineThatBeginsWith returns the first line of a segment that begins with a word, or otherwise.
func lineThatBeginsWith(word string, segment caddyfile.Segment, otherwise int) int {
	for i, t := range segment {
		if t.Text == word && (i == 0 || endOf(segment[i-1]) < t.Line) {
			return t.Line
		}
	}
	return otherwise
}

// short returns what Caddy says without where it says it.
func short(text string) string {
	if missing := noEncoder.FindStringSubmatch(text); missing != nil {
		return fmt.Sprintf("this program has no encoder %s, but %s", missing[1], strings.Join(encoders(), ", "))
	}
	text = inside.ReplaceAllString(place.ReplaceAllString(text, ""), "")
	return around.ReplaceAllString(text, "")
}

// encoders returns the names of the encoders that the program has.
func encoders() (names []string) {
	for _, module := range caddy.GetModules("http.encoders") {
		names = append(names, module.ID.Name())
	}
	return names
}
