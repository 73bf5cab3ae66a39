package kamal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// request is a request as it is written to the wire.
type request struct {
	method, host, target string
	// fields are lines of the header, without line ends.
	fields []string
	body   string
}

func (r request) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s%s %s", r.method, r.host, r.target, strings.Join(r.fields, "; ")))
}

// answer is what came back, field by field.
type answer map[string]string

// send makes a request over a connection of its own.
func (r request) send(addr string) (answer, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rigtest.Patience))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.target, r.host)
	for _, f := range r.fields {
		b.WriteString(f + "\r\n")
	}
	if r.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	b.WriteString("\r\n" + r.body)
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		return answer{"connection": "closed without an answer"}, nil //nolint:nilerr // which is an answer
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{"status": fmt.Sprint(resp.StatusCode)}
	if err != nil {
		a["body ends"] = "too early"
	}
	for name, values := range resp.Header {
		switch name {
		case "Date", "Content-Length", "X-Request-Id":
		case "X-Parachute-Error":
		default:
			a["answer "+name] = strings.Join(values, " | ")
		}
	}
	a.describeBody(body)
	return a, nil
}

// describeBody adds what an application was asked, or which text a proxy has for an error.
func (a answer) describeBody(body []byte) {
	var seen asked
	if json.Unmarshal(body, &seen) == nil && seen.App != "" {
		a["app"], a["app method"], a["app uri"], a["app host"], a["app body"] = seen.App, seen.Method, seen.URI, seen.Host, seen.Body
		for name, value := range seen.Header {
			a["app "+name] = value
		}
		return
	}
	text := strings.TrimSpace(string(body))
	switch {
	case strings.Contains(text, "<html") || strings.Contains(text, "<h1>"):
		text = "a page"
	case strings.HasPrefix(text, "parachute: "):
		text = "a line of text"
	}
	a["body"] = text
}

// difference is one between kamal-proxy and parachute that is meant.
type difference struct {
	// requests matches those that it is about; all of them if it is empty.
	requests string
	// field is what differs, from kamal-proxy's value to parachute's. A star is any.
	field, theirs, ours string
	// why is the reason.
	why string
}

func (d difference) explains(requests *regexp.Regexp, r request, field, theirs, ours string) bool {
	return requests.MatchString(r.String()) && (d.field == field || d.field == "*") &&
		(d.theirs == "*" || d.theirs == theirs) && (d.ours == "*" || d.ours == ours)
}

// TestAnswersAreThoseOfKamalProxy gives both the same commands and requests. It fails for a
// difference that is not in the list, and for one in the list that is not there.
func TestAnswersAreThoseOfKamalProxy(t *testing.T) {
	t.Parallel()
	theirs, ours := newServer(t, kamalProxy(t)), newServer(t, parachute(t))
	one, two := startApp(t, "one"), startApp(t, "two")
	pair := certificateFiles(t, "tls.test", "both.test")
	for _, s := range []*server{theirs, ours} {
		s.start()
		for _, line := range commands(one, two, pair) {
			s.do(line...)
		}
	}
	all := requests()
	if len(all) < 200 {
		t.Errorf("there are only %d requests", len(all))
	}
	used, patterns := make([]bool, len(differences)), make([]*regexp.Regexp, len(differences))
	for i, d := range differences {
		patterns[i] = regexp.MustCompile(d.requests)
	}
	for _, r := range all {
		a, err := r.send(theirs.addr())
		must(t, err)
		b, err := r.send(ours.addr())
		must(t, err)
		for _, field := range compared(a, b) {
			x, y := withoutPort(a[field], theirs), withoutPort(b[field], ours)
			if x == y {
				continue
			}
			explained := false
			for i, d := range differences {
				if d.explains(patterns[i], r, field, x, y) {
					explained, used[i] = true, true
				}
			}
			if !explained {
				t.Errorf("%s\n\t%s: kamal-proxy %q, parachute %q", r, field, x, y)
			}
		}
	}
	for i, d := range differences {
		if !used[i] {
			t.Errorf("a difference is not there any more: %+v", d)
		}
	}
}

// compared returns the fields of two answers that are compared: all of them, unless they are answers to
// different questions.
func compared(a, b answer) []string {
	if a["status"] != b["status"] {
		return []string{"status"}
	}
	if a["app"] != b["app"] {
		return []string{"app"}
	}
	fields := maps.Clone(a)
	maps.Copy(fields, b)
	return slices.Sorted(maps.Keys(fields))
}

// withoutPort replaces the ports of a server, which are different for each.
func withoutPort(value string, s *server) string {
	return strings.NewReplacer(fmt.Sprint(":", s.http), ":HTTP", fmt.Sprint(":", s.https), ":HTTPS").Replace(value)
}

// certificateFiles returns a certificate and its key for hosts.
func certificateFiles(t testing.TB, hosts ...string) [2]string {
	t.Helper()
	certificate, err := selfsigned.New(hosts...)
	must(t, err)
	dir := t.TempDir()
	pair := [2]string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	must(t, certificate.Write(pair[0], pair[1]))
	return pair
}

// commands are what both proxies are told.
func commands(one, two *app, pair [2]string) [][]string {
	deploy := func(service string, a *app, more ...string) []string {
		return append([]string{"deploy", service, "--target", a.addr()}, more...)
	}
	return [][]string{
		deploy("web", one, "--host=app.test"),
		deploy("api", two, "--host=app.test", "--path-prefix=/api,/v1/"),
		deploy("deep", one, "--host", "app.test", "--path-prefix", "/api/deep"),
		deploy("keep", two, "--host=app.test", "--path-prefix=keep", `--strip-path-prefix=false`),
		deploy("scoped", two, "--host=app.test", "--path-prefix=/scoped", "--scope-cookie-paths"),
		deploy("wild", one, "--host=*.wild.test", "--buffer-requests=false"),
		deploy("exact", two, "--host=a.wild.test"),
		deploy("all", two, "--path-prefix=/all", "--health-check-path=up"),
		deploy("canon", one, "--host=canon.test,www.canon.test", "--canonical-host=canon.test"),
		deploy("plain", one, "--host=plain.test", "--forward-headers=false"),
		deploy("tls", one, "--host=tls.test", "--tls", "--tls-certificate-path", pair[0], "--tls-private-key-path="+pair[1]),
		deploy("tlsapi", two, "--host=tls.test", "--path-prefix=/api"),
		deploy("both", one, "--host=both.test", "--tls", "--tls-redirect=false", "--tls-certificate-path", pair[0], "--tls-private-key-path="+pair[1]),
		deploy("timed", one, "--host=timed.test", "--target-timeout=100ms"),
		deploy("stopped", one, "--host=stopped.test"),
		{"stop", "stopped", "--drain-timeout=1s", "--message=Back soon"},
		deploy("paused", one, "--host=paused.test"),
		{"pause", "paused", "--max-pause=50ms"},
		deploy("again", one, "--host=again.test"),
		{"stop", "again"},
		{"resume", "again"},
		deploy("gone", one, "--host=gone.test"),
		{"remove", "gone"},
		deploy("rolled", one, "--host=rolled.test"),
		{"rollout", "deploy", "rolled", "--target", two.addr()},
		{"rollout", "set", "rolled", "--percent=50", "--list=vip,other"},
		deploy("ended", one, "--host=ended.test"),
		{"rollout", "deploy", "ended", "--target", two.addr()},
		{"rollout", "set", "ended", "--percent=100"},
		{"rollout", "stop", "ended"},
	}
}

// requests are what both proxies are asked.
func requests() (all []request) {
	add := func(method, host, target string, fields ...string) {
		all = append(all, request{method: method, host: host, target: target, fields: fields})
	}
	for _, target := range []string{
		"/", "/x", "/api", "/api/", "/api/x", "/apix", "/api?q=1", "/api/x?q=%zz;a", "/api/deep", "/api/deep/x", "/api/deeper", "/v1", "/v1/x", "/v12",
		"/keep", "/keep/x", "/keep/x?a=b", "/scoped/x", "/scoped", "/all", "/all/x", "/x/%2Fy", "/api/%2Fy", "/api/%61", "/%61pi/x", "/api//x", "//api/x", "//", "/api/./x", "/api/../x",
		"/x/../api/y", "/api/%2e%2e/x", "/api/x/..", "/.", "/..", "/?", "/?a=1&a=2", "/a%20b", "/a+b", "/ä", "/a%C3%A4", "/a;b=c", "/api;x", "/API/x", "/*", "/a\\b", "/a|b", "/'\"", "/a%00b", "/index.html#x",
	} {
		add("GET", "app.test", target)
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get", "CUSTOM", "TRACE"} {
		add(method, "app.test", "/x")
		add(method, "app.test", "/api/x")
		add(method, "stopped.test", "/x")
		add(method, "nobody.test", "/x")
		add(method, "tls.test", "/x?y=z")
	}
	for _, host := range []string{
		"APP.TEST", "app.test.", "app.test:80", "app.test:8080", "app.test:", "a.wild.test", "b.wild.test", "B.Wild.test", "a.b.wild.test", "wild.test", ".wild.test",
		"nobody.test", "127.0.0.1", "[::1]", "localhost", "xn--bcher-kva.test", "gone.test", "again.test", "ended.test", "plain.test", "both.test",
	} {
		add("GET", host, "/x")
		add("GET", host, "/all/x")
		add("GET", host, "/api/x")
	}
	for _, host := range []string{"stopped.test", "paused.test"} {
		for _, target := range []string{"/", "/up", "/up/", "/up?x=1", "/UP", "//up"} {
			add("GET", host, target)
		}
		add("HEAD", host, "/up")
		add("POST", host, "/up")
		add("GET", host, "/x", "Accept: text/html")
	}
	for _, target := range []string{"/", "/x?y=z", "/api/x", "/up", "//x", "/.well-known/acme-challenge/nothing"} {
		add("GET", "tls.test", target)
		add("GET", "tls.test:8080", target)
		add("GET", "www.canon.test", target)
		add("GET", "canon.test", target)
	}
	add("POST", "www.canon.test", "/x")
	for _, value := range []string{"", "vip", "other", "a", "b", "c", "d", "foobar", "1", "2", "3", "17", "42", "x y", `"vip"`, "VIP"} {
		add("GET", "rolled.test", "/x", "Cookie: kamal-rollout="+value)
	}
	add("GET", "rolled.test", "/x")
	add("GET", "rolled.test", "/x", "Cookie: a=1; kamal-rollout=vip; b=2")
	add("GET", "rolled.test", "/x", "Cookie: kamal-rollout=nobody; kamal-rollout=vip")
	add("GET", "ended.test", "/x", "Cookie: kamal-rollout=vip")
	for _, fields := range [][]string{
		{"X-Forwarded-For: 192.0.2.1"},
		{"X-Forwarded-For: 192.0.2.1, 192.0.2.2", "X-Forwarded-For: 192.0.2.3"},
		{"X-Forwarded-Proto: https"},
		{"X-Forwarded-Host: evil.test"},
		{"X-Forwarded-Port: 444"},
		{"X-Real-IP: 192.0.2.9"},
		{"Forwarded: for=192.0.2.9"},
		{"CF-Connecting-IP: 192.0.2.9"},
		{"True-Client-IP: 192.0.2.9"},
		{"X-Kamal-Target: evil:1"},
		{"X-Request-ID: mine"},
		{"X-Request-ID:"},
		{"X-Request-Start: t=1"},
		{"Connection: close"},
		{"Connection: X-Mine", "X-Mine: 1"},
		{"Keep-Alive: 5"},
		{"TE: trailers"},
		{"Proxy-Connection: keep-alive"},
		{"Proxy-Authorization: x"},
		{"Upgrade: websocket"},
		{"User-Agent:"},
		{"Accept-Encoding: gzip"},
		{"X_Under: 1"},
		{"X-Empty:"},
		{"X-Two: a", "X-Two: b"},
		{"Referer: x"},
		{"Authorization: Basic eDp5"},
		{"Idempotency-Key: 1"},
		{"Expect: 100-continue"},
		{"Expect: nothing"},
		{"Range: bytes=0-1"},
		{"If-None-Match: *"},
	} {
		add("GET", "app.test", "/x", fields...)
		add("GET", "plain.test", "/x", fields...)
	}
	for _, status := range []string{"204", "201", "301", "304", "401", "404", "418", "500", "502", "503", "504"} {
		add("GET", "app.test", "/status/"+status)
	}
	for _, target := range []string{"/cookies", "/scoped/cookies", "/api/cookies", "/fields", "/cut"} {
		add("GET", "app.test", target)
	}
	add("GET", "timed.test", "/slow")
	all = append(all, request{method: "POST", host: "app.test", target: "/x", body: "hello"}, request{method: "POST", host: "app.test", target: "/api/x", body: strings.Repeat("x", 100_000)},
		request{method: "GET", host: "app.test", target: "/x", body: "of a GET"}, request{method: "DELETE", host: "app.test", target: "/x", body: "x"})
	return all
}

// TestCommandsEndAsThoseOfKamalProxy compares exit codes, and how errors begin.
func TestCommandsEndAsThoseOfKamalProxy(t *testing.T) {
	t.Parallel()
	theirs, ours := newServer(t, kamalProxy(t)), newServer(t, parachute(t))
	a := startApp(t, "one")
	bad := filepath.Join(t.TempDir(), "none.pem")
	lines := [][]string{
		{"deploy", "web", "--target", a.addr(), "--host=app.test"},
		{"deploy", "web", "--target", a.addr(), "--host=app.test"},
		{"deploy", "--target", a.addr(), "web", "--host", "app.test"},
		{"deploy", "web"},
		{"deploy"},
		{"deploy", "web", "two", "--target", a.addr()},
		{"deploy", "thief", "--target", a.addr(), "--host=app.test"},
		{"deploy", "sick", "--target", a.addr(), "--host=sick.test", "--health-check-path=/status/500", "--deploy-timeout=300ms", "--health-check-interval=100ms"},
		{"deploy", "sick", "--target", a.addr(), "--host=sick.test", "--health-check-path=/status/500", "--force"},
		{"deploy", "tls", "--target", a.addr(), "--host=tls.test", "--tls", "--tls-certificate-path", bad, "--tls-private-key-path", bad},
		{"deploy", "tls", "--target", a.addr(), "--host=tls.test", "--tls", "--tls-certificate-path", bad},
		{"deploy", "max", "--target", a.addr(), "--max-request-body=10"},
		{"deploy", "max", "--target", a.addr(), "--max-response-body=10"},
		{"deploy", "unit", "--target", a.addr(), "--drain-timeout=5"},
		{"deploy", "unknown", "--target", a.addr(), "--no-such-flag"},
		{"pause", "nobody"},
		{"stop", "nobody"},
		{"resume", "nobody"},
		{"remove", "nobody"},
		{"rm", "nobody"},
		{"pause", "web", "--max-pause=10s"},
		{"pause", "web", "--max-pause=5s"},
		{"stop", "web", "--message=a"},
		{"stop", "web", "--message=b"},
		{"resume", "web"},
		{"resume", "web"},
		{"rollout", "set", "web", "--percent=10"},
		{"rollout", "set", "web"},
		{"rollout", "set", "nobody", "--percent=10"},
		{"rollout", "stop", "nobody"},
		{"rollout", "stop", "web"},
		{"rollout", "deploy", "nobody", "--target", a.addr()},
		{"rollout", "deploy", "web"},
		{"list"},
		{"ls"},
		{"list", "web"},
		{"nothing"},
		{"rollout"},
		{"help"},
		{"deploy", "--help"},
		{"remove", "web"},
		{"remove", "web"},
	}
	for _, s := range []*server{theirs, ours} {
		s.start()
	}
	for _, line := range lines {
		x, y := theirs.run(line...), ours.run(line...)
		if x.Code != y.Code {
			t.Errorf("%s: kamal-proxy %+v\nparachute %+v", strings.Join(line, " "), x, y)
		}
		// What parachute says more is behind the words of kamal-proxy.
		want, got := firstLine(x.Stderr), firstLine(y.Stderr)
		if known := sameInOtherWords[want]; known != "" {
			want = known
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: kamal-proxy says %q, parachute %q", strings.Join(line, " "), want, got)
		}
	}
}

// sameInOtherWords are errors of kamal-proxy that parachute has other words for.
var sameInOtherWords = map[string]string{}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return string(bytes.TrimSpace([]byte(line)))
}
