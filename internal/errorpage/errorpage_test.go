package errorpage

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuiltInPageSaysWhatTheClientNeeds(t *testing.T) {
	t.Parallel()
	page := string(BuiltIn(Page{Status: 502, Reason: "the application cannot be reached", Code: "unreachable", RequestID: "abc"}))
	for _, want := range []string{"<title>502 Bad Gateway</title>", "<p>The application cannot be reached.</p>", "parachute &middot; unreachable &middot; request abc"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	for _, other := range []string{"http://", "https://", "src=", "<script", "@import", "url("} {
		if strings.Contains(page, other) {
			t.Errorf("the page loads something: %q", other)
		}
	}
	// An operator speaks for the service, and not for the proxy.
	page = string(BuiltIn(Page{Status: 503, Message: "Back at <noon>", Reason: "the service is stopped", Code: "stopped"}))
	if !strings.Contains(page, "<p>Back at &lt;noon&gt;</p>") || strings.Contains(page, "parachute") || strings.Contains(page, "stopped") {
		t.Errorf("the page of a stopped service:\n%s", page)
	}
}

func TestPagesOfAServiceAreTemplates(t *testing.T) {
	t.Parallel()
	set, err := Parse(map[string]string{
		"503.html":    `{{template "head.html" .}}Maintenance{{with .Message}}: {{.}}{{end}}`,
		"502.html":    `{{.Status}} {{.Title}} {{.Reason}} {{.Text}} {{.Code}} {{.RequestID}}`,
		"head.html":   `<title>{{.Title}}</title>`,
		"README.html": `not a page`, "5030.html": ``, "200.html": ``,
	})
	if err != nil {
		t.Fatal(err)
	}
	for want, page := range map[string]Page{
		"<title>Service Unavailable</title>Maintenance":                  {Status: 503, Reason: "the service is stopped"},
		"<title>Service Unavailable</title>Maintenance: &lt;b&gt; later": {Status: 503, Message: "<b> later"},
		"502 Bad Gateway cut Cut. c id":                                  {Status: 502, Reason: "cut", Code: "c", RequestID: "id"},
		"":                                                               {Status: 200},
	} {
		if got, err := set.Render(page); err != nil || string(got) != want {
			t.Errorf("%+v: %q, %v, want %q", page, got, err, want)
		}
	}
	if got, err := (*Set)(nil).Render(Page{Status: 503}); got != nil || err != nil {
		t.Errorf("a service without pages has %q, %v", got, err)
	}
	for want, files := range map[string]map[string]string{
		"there is no page":        {"index.html": "x"},
		"502.html:1":              {"502.html": "{{.Nothing}}"},
		"unclosed":                {"502.html": "{{if .Message"},
		"no such template \"foot": {"503.html": `{{template "foot.html"}}`},
		"ambiguous context":       {"503.html": "<a href='{{if .Message}}?{{end}}{{.Message}}'>"},
	} {
		if _, err := Parse(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want an error with %q", files, err, want)
		}
	}
}

func TestHTMLIsForThoseWhoTakeIt(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]Preference{
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": Wants,
		"application/xhtml+xml":     Wants,
		"TEXT/HTML; charset=utf-8":  Wants,
		"*/*":                       Accepts,
		"application/json, */*":     Accepts,
		"text/*;q=0.5":              Accepts,
		"application/json":          Refuses,
		"text/html;q=0, */*":        Accepts,
		"text/html;q=0.0":           Refuses,
		"image/avif,image/webp":     Refuses,
		"":                          Refuses,
		"application/json;v=text/h": Refuses,
	} {
		if got := PreferenceOf(http.Header{"Accept": {accept}}); got != want {
			t.Errorf("Accept: %s: %d, want %d", accept, got, want)
		}
	}
	if got := PreferenceOf(http.Header{}); got != Accepts {
		t.Errorf("without Accept: %d, want %d", got, Accepts)
	}
	if got := PreferenceOf(http.Header{"Accept": {"application/json", "text/html"}}); got != Wants {
		t.Errorf("in two fields: %d, want %d", got, Wants)
	}
}

func TestLinksOutOfTheDirectoryAreNotFollowed(t *testing.T) {
	t.Parallel()
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	for path, text := range map[string]string{secret: "secret", filepath.Join(dir, "502.html"): "sorry"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"503.html": secret, "504.html": "502.html"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
	}
	if files, err := Read(dir); err == nil {
		t.Errorf("a link out of the directory was followed: %q", files)
	}
	if err := os.Remove(filepath.Join(dir, "503.html")); err != nil {
		t.Fatal(err)
	}
	if files, err := Read(dir); err != nil || files["504.html"] != "sorry" {
		t.Errorf("a link within the directory: %q, %v", files, err)
	}
}

func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	set, err := Parse(map[string]string{"503.html": "{{if .RequestID}}{{range 30000000}}x{{end}}{{end}}"})
	if err != nil {
		t.Fatal(err)
	}
	if page, err := set.Render(Page{Status: 503, RequestID: "id"}); err == nil {
		t.Errorf("a page has %d bytes", len(page))
	}
}
