package integration

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// exposition is what /metrics answers: of each metric its type, and the labels that it
// has, in the order of their names.
type exposition struct {
	text   string
	types  map[string]string
	labels map[string][]string
}

var sampleLine = regexp.MustCompile(`^(parachute_\w+?)(?:\{(.*)\})? `)

// ourMetrics returns what p tells of itself, at its admin endpoint.
func ourMetrics(t *testing.T, p *rig.Proxy) exposition {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(p.Admin(), "unix/"))
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://localhost/metrics")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	e := exposition{string(text), make(map[string]string), make(map[string][]string)}
	for line := range strings.SplitSeq(e.text, "\n") {
		if name, kind, ok := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " "); ok && strings.HasPrefix(line, "# TYPE parachute_") {
			e.types[name] = kind
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		labels := e.labels[e.metric(m[1])]
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			if label[1] != "le" && !slices.Contains(labels, label[1]) {
				labels = append(labels, label[1])
			}
		}
		slices.Sort(labels)
		e.labels[e.metric(m[1])] = labels
	}
	return e
}

// metric returns the metric that a series belongs to: a histogram has three.
func (e exposition) metric(series string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, ok := strings.CutSuffix(series, suffix); ok && e.types[name] == "histogram" {
			return name
		}
	}
	return series
}

// has reports whether a query can find series of that name.
func (e exposition) has(series string) bool {
	name := e.metric(series)
	return e.types[name] != "" && (e.types[name] == "histogram") == (name != series)
}

// startMeasured returns a proxy that has something to tell of all its metrics.
func startMeasured(t *testing.T) *rig.Proxy {
	t.Helper()
	p := startProxy(t)
	deploy(t, p, api.DeployRequest{
		Service: "web", Hosts: []string{"web.test"}, Targets: []string{startApp(t, "web", nil).addr()},
		TLS: &api.TLSRequest{Issuer: api.IssuerInternal},
	})
	wantRun(t, p, 9, "deploy", startApp(t, "next", nil).addr(), "--service", "web", "--canary", "25%")
	return p
}

// A board that asks for a metric that is not there shows nothing, and an alert never fires.
func TestEveryMetricIsDocumentedAndEveryQueryFindsOne(t *testing.T) {
	e := ourMetrics(t, startMeasured(t))
	page, err := os.ReadFile("../docs/METRICS.md")
	must(t, err)
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `(parachute_\\w+)` \\| (\\w+) \\| (.*?) \\|").FindAllStringSubmatch(string(page), -1) {
		name := row[1]
		documented[name] = true
		var labels []string
		for _, label := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		if e.types[name] != row[2] || !slices.Equal(labels, e.labels[name]) {
			t.Errorf("docs/METRICS.md has the %s %s by %v; it is the %s by %v", row[2], name, labels, e.types[name], e.labels[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.types)) {
		if !documented[name] {
			t.Errorf("docs/METRICS.md does not have %s", name)
		}
	}
	for file, queries := range map[string][]string{"docs/alerts.yaml": alertQueries(t), "docs/grafana.json": boardQueries(t)} {
		if len(queries) < 5 {
			t.Errorf("%s has %d queries", file, len(queries))
		}
		for _, query := range queries {
			e.check(t, file, query)
		}
	}
}

// check fails the test if a query asks for a series, or a label of it, that is not there.
func (e exposition) check(t *testing.T, file, query string) {
	t.Helper()
	series := regexp.MustCompile(`parachute_\w+`).FindAllString(query, -1)
	if len(series) == 0 {
		t.Errorf("%s: %s asks for nothing of ours", file, query)
	}
	known := []string{"le"}
	for _, name := range series {
		if !e.has(name) {
			t.Errorf("%s asks for %s, which is not there", file, name)
		}
		known = append(known, e.labels[e.metric(name)]...)
	}
	for _, m := range regexp.MustCompile(`\bby \(([^)]*)\)|[{,] ?(\w+) ?(?:=|!~)`).FindAllStringSubmatch(query, -1) {
		for label := range strings.SplitSeq(m[1]+m[2], ", ") {
			if !slices.Contains(known, label) {
				t.Errorf("%s: there is no label %s in %s", file, label, query)
			}
		}
	}
}

// alertQueries returns what docs/alerts.yaml asks Prometheus.
func alertQueries(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/alerts.yaml")
	must(t, err)
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	must(t, yaml.Unmarshal(text, &rules))
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
				t.Errorf("the rule %+v has no name, no severity or no summary", rule)
			}
			queries = append(queries, rule.Expr)
		}
	}
	return queries
}

// boardQueries returns what docs/grafana.json asks Prometheus.
func boardQueries(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/grafana.json")
	must(t, err)
	type source struct{ Type, UID string }
	var board struct {
		SchemaVersion int
		Templating    struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			Title      string
			Datasource source
			Targets    []struct {
				Expr       string
				Datasource source
			}
		}
	}
	must(t, json.Unmarshal(text, &board))
	if len(board.Templating.List) == 0 || board.Templating.List[0].Name != "datasource" || board.Templating.List[0].Type != "datasource" {
		t.Error("the board does not ask for its data source")
	}
	for _, panel := range board.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			if panel.Datasource.UID != "${datasource}" || target.Datasource.UID != "${datasource}" {
				t.Errorf("the panel %s has a data source of its own", panel.Title)
			}
			queries = append(queries, target.Expr)
		}
	}
	for _, variable := range board.Templating.List[1:] {
		queries = append(queries, variable.Definition)
	}
	return queries
}

// Series of a service that was removed, or of methods that somebody has made up, would stay
// in the memory of whoever scrapes them.
func TestMetricsHaveNoSeriesForWhatIsNotThere(t *testing.T) {
	p := startMeasured(t)
	for _, method := range []string{http.MethodGet, "PROPFIND", "MADEUP"} {
		req, err := http.NewRequest(method, p.URL()+"/", nil)
		must(t, err)
		req.Host = "web.test"
		resp, err := (&http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
		must(t, err)
		must(t, resp.Body.Close())
	}
	waitFor(t, "the requests to be counted", func() bool {
		text := ourMetrics(t, p).text
		return strings.Contains(text, `parachute_requests_total{code="3xx",method="GET",service="web"} 1`) &&
			strings.Contains(text, `parachute_requests_total{code="3xx",method="OTHER",service="web"} 2`)
	})
	if text := ourMetrics(t, p).text; strings.Contains(text, "PROPFIND") || !strings.Contains(text, `parachute_requests_held{service="web"} 0`) {
		t.Errorf("the metrics:\n%s", text)
	}
	must(t, p.Remove(t.Context(), "web"))
	if text := ourMetrics(t, p).text; strings.Contains(text, `service="web"`) {
		t.Errorf("the service that was removed is still there:\n%s", text)
	}
}
