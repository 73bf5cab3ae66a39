package errorpage

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Page is what a page tells. A template has its fields.
type Page struct {
	// Status is the status of the answer, such as 503.
	Status int
	// Message is what the operator tells the clients of a service that is stopped; empty for
	// everything else.
	Message string
	// Reason is what the proxy says of it, in one sentence.
	Reason string
	// Code is the proxy's word for the reason, such as unreachable.
	Code string
	// RequestID is the id of the request, by which a log has it; empty if it has none.
	RequestID string
}

// Title returns the text of the status, such as "Service Unavailable".
func (p Page) Title() string {
	if text := http.StatusText(p.Status); text != "" {
		return text
	}
	return "Error"
}

// Text returns what there is to say to a person: the message, or else the reason as a sentence.
func (p Page) Text() string {
	if p.Message != "" {
		return p.Message
	}
	first, size := utf8.DecodeRuneInString(p.Reason)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + p.Reason[size:] + "."
}

// builtIn is the page of the proxy's own. It loads nothing, and its styles are allowed by
// [BuiltInPolicy].
var builtIn = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.Status}} {{.Title}}</title>
<style>
:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI",sans-serif;background:#f6f7f9;color:#1c2024}
main{max-width:34rem;padding:2rem}
.status{margin:0;font-size:4rem;font-weight:700;line-height:1;letter-spacing:-.03em;color:#8b9199}
h1{margin:.5rem 0 1rem;font-size:1.5rem}
p{margin:0 0 1rem;overflow-wrap:anywhere}
footer{margin-top:2rem;padding-top:1rem;border-top:1px solid #dfe2e6;font-size:.8125rem;color:#697079;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#15181c;color:#e7e9ec}.status{color:#697079}footer{border-color:#2c3137;color:#8b9199}}
</style>
</head>
<body>
<main>
<p class="status">{{.Status}}</p>
<h1>{{.Title}}</h1>
{{with .Text}}<p>{{.}}</p>
{{end}}{{if or .RequestID (not .Message)}}<footer>{{if not .Message}}parachute &middot; {{.Code}}{{if .RequestID}} &middot; {{end}}{{end}}{{with .RequestID}}request {{.}}{{end}}</footer>
{{end}}</main>
</body>
</html>
`))

// BuiltInPolicy is the Content-Security-Policy of the built-in page.
const BuiltInPolicy = "default-src 'none'; style-src 'unsafe-inline'"

// BuiltIn returns the built-in page.
func BuiltIn(p Page) []byte {
	var b bytes.Buffer
	if err := builtIn.Execute(&b, p); err != nil {
		panic(err) // it has no field that a page has not, and a buffer takes everything
	}
	return b.Bytes()
}

// Preference is whether a client takes HTML (RFC 9110, section 12.5.1).
type Preference int

const (
	// Refuses: the client takes other types alone.
	Refuses Preference = iota
	// Accepts: the client takes anything.
	Accepts
	// Wants: the client names HTML, as a browser does that loads a page.
	Wants
)

// PreferenceOf returns what the Accept fields of a request say of HTML.
func PreferenceOf(h http.Header) Preference {
	if len(h["Accept"]) == 0 {
		return Accepts
	}
	anything := Refuses
	for _, field := range h["Accept"] {
		for part := range strings.SplitSeq(field, ",") {
			mediaType, parameters, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(mediaType)) {
			case "text/html", "application/xhtml+xml":
				if !isZero(parameters) {
					return Wants
				}
			case "*/*", "text/*":
				if !isZero(parameters) {
					anything = Accepts
				}
			}
		}
	}
	return anything
}

// isZero reports whether parameters of a media type have a weight of 0, which says that the type is
// not acceptable (RFC 9110, section 12.4.2).
func isZero(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			return strings.Trim(strings.TrimSpace(value), "0.") == ""
		}
	}
	return false
}
