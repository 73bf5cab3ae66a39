package integration

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// browser is what a browser accepts that loads a page.
const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// getAs makes a request of a client that accepts what it says.
func getAs(t *testing.T, url, host, accept string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	must(t, err)
	req.Host = host
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

// A person gets a page, and a program a line. A service has pages of its own.
func TestClientsGetThePageThatTheyCanRead(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	pages := filepath.Join(p.Dir, "pages")
	must(t, os.Mkdir(pages, 0o700))
	must(t, os.WriteFile(filepath.Join(pages, "503.html"), []byte(`<h1>Custom{{with .Message}}: {{.}}{{end}}</h1>`), 0o600))
	must(t, os.WriteFile(filepath.Join(pages, "500.html"), []byte(`<h1>Ours</h1>`), 0o600))
	must(t, os.WriteFile(filepath.Join(pages, "403.html"), []byte(`<h1>Not you</h1>`), 0o600))
	a := startApp(t, "a", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "stack trace", http.StatusInternalServerError)
	})
	for _, options := range [][]string{
		{"--service", "web", "--host", "app.test", "--intercept-errors", "500-599"},
		{"--service", "closed", "--host", "closed.test", "--deny-ip", "127.0.0.1"},
	} {
		if r := run(t, p, append([]string{"deploy", a.addr(), "--error-pages", pages}, options...)...); r.Code != 0 {
			t.Fatalf("%d %s", r.Code, r.Stderr)
		}
	}
	want := func(host, accept string, status int, contentType, contains string) {
		t.Helper()
		resp, body := getAs(t, p.URL(), host, accept)
		if resp.StatusCode != status || !strings.HasPrefix(resp.Header.Get("Content-Type"), contentType) || !strings.Contains(body, contains) {
			t.Errorf("%s, Accept: %q: %s %s, %s\nwant %d %s with %q", host, accept, resp.Status, resp.Header.Get("Content-Type"), body, status, contentType, contains)
		}
	}
	want("other.test", browser, 404, "text/html", "No service is deployed for this host and path.")
	want("other.test", "", 404, "text/plain", "parachute: no service is deployed for this host and path (404)\n")
	want("app.test", browser, 500, "text/html", "<h1>Ours</h1>")
	want("app.test", "application/json", 500, "text/plain", "stack trace")
	want("closed.test", browser, 403, "text/html", "<h1>Not you</h1>")
	stop := func(message string) {
		t.Helper()
		if r := run(t, p, "stop", "web", "--message", message); r.Code != 0 {
			t.Fatalf("%d %s", r.Code, r.Stderr)
		}
	}
	stop("back at <noon>")
	want("app.test", browser, 503, "text/html", "<h1>Custom: back at &lt;noon&gt;</h1>")
	want("app.test", "*/*", 503, "text/html", "<h1>Custom: back at")
	want("app.test", "application/json", 503, "text/plain", "back at <noon>\n")

	// The pages belong to the release.
	must(t, os.RemoveAll(pages))
	_, err := p.Stop(patience)
	must(t, err)
	must(t, p.Start())
	want("app.test", browser, 503, "text/html", "<h1>Custom: back at &lt;noon&gt;</h1>")

	deployed := run(t, p, "deploy", "--service", "web", a.addr())
	if deployed.Code != 2 || !strings.Contains(deployed.Stderr, "no such file") || !strings.Contains(deployed.Stderr, "--error-pages") {
		t.Errorf("a deploy whose pages are missing: %d %s", deployed.Code, deployed.Stderr)
	}
}
