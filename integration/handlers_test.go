package integration

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// bobsHash is the hash of the password "hiccup", by bcrypt with the least cost.
const bobsHash = "$2a$04$yR6tWXCi16GOg2Qpx3UGKuv1l94Ck9Q4JJGEs9p9BY5cfirFnXJ3C"

// directives writes a file with directives, and returns its name.
func directives(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app.caddyfile")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// wantOutput fails the test unless a command ends with a code and a text in what it prints.
func wantOutput(t *testing.T, p *rig.Proxy, code int, text string, args ...string) rig.Result {
	t.Helper()
	r := run(t, p, args...)
	if r.Code != code || !strings.Contains(r.Stdout+r.Stderr, text) {
		t.Fatalf("parachute %s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), r.Code, code, text, r.Stdout, r.Stderr)
	}
	return r
}

// askTwice makes a request that change has changed, on a connection that has made one before, so
// that it takes the fast path if there is one.
func askTwice(t *testing.T, p *rig.Proxy, host, path string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var resp *http.Response
	var body []byte
	for range 2 {
		req, err := http.NewRequest(http.MethodGet, p.URL()+path, nil)
		must(t, err)
		req.Host = host
		if change != nil {
			change(req)
		}
		resp, err = client.Do(req)
		must(t, err)
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		must(t, err)
	}
	return resp, string(body)
}

func asBob(r *http.Request) { r.SetBasicAuth("bob", "hiccup") }

// TestHandlersOfOneService: what a service brings along is for its own requests, over restarts
// and deploys, until it is taken away.
func TestHandlersOfOneService(t *testing.T) {
	p := startProxy(t)
	text := strings.Repeat("compress me ", 200)
	app := startApp(t, "app", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
	})
	file := directives(t, "encode gzip\nbasic_auth {\n\tbob "+bobsHash+"\n}\nheader X-Release v{parachute.release}\n")
	wantOutput(t, p, 0, "v1 is live", "deploy", app.addr(), "--host", "closed.test", "--with", file)
	wantOutput(t, p, 0, "v1 is live", "deploy", app.addr(), "--host", "open.test")
	check := func(release int) {
		t.Helper()
		resp, _ := askTwice(t, p, "closed.test", "/", nil)
		if resp.StatusCode != 401 || resp.Header.Get("Www-Authenticate") == "" {
			t.Errorf("without a password: %s, %v", resp.Status, resp.Header)
		}
		resp, body := askTwice(t, p, "closed.test", "/", func(r *http.Request) {
			asBob(r)
			r.Header.Set("Accept-Encoding", "gzip")
		})
		if resp.StatusCode != 200 || resp.Header.Get("X-Release") != fmt.Sprint("v", release) || resp.Header.Get("Content-Encoding") != "gzip" || len(body) > len(text)/2 {
			t.Errorf("with the password: %s, %v, %d bytes", resp.Status, resp.Header, len(body))
		}
		unzipped, err := gzip.NewReader(strings.NewReader(body))
		must(t, err)
		if plain, err := io.ReadAll(unzipped); err != nil || string(plain) != text {
			t.Errorf("the answer is %.50q (%v)", plain, err)
		}
		resp, body = askTwice(t, p, "open.test", "/", func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") })
		if resp.StatusCode != 200 || body != text || resp.Header.Get("X-Release") != "" {
			t.Errorf("the other service: %s, %v", resp.Status, resp.Header)
		}
	}
	check(1)
	if status := run(t, p, "status", "closed.test").Stdout; !strings.Contains(status, "with 5 lines (") || strings.Contains(status, "$2a$") {
		t.Errorf("status shows hashes, or not that there are directives:\n%s", status)
	}
	if status := run(t, p, "status", "closed.test", "--output", "json").Stdout; !strings.Contains(status, `encode gzip\nbasic_auth {`) {
		t.Errorf("status as JSON does not have the directives:\n%s", status)
	}

	// A deploy keeps them, and so does a restart.
	wantOutput(t, p, 0, "v2 is live", "deploy", app.addr(), "--host", "closed.test")
	check(2)
	_, err := p.Stop(patience)
	must(t, err)
	must(t, p.Start())
	check(2)

	// What is wrong changes nothing, and is told with its line.
	for _, tt := range []struct{ text, want string }{
		{"encode gzip\n\nnonsense\n", "app.caddyfile, line 3: unrecognized directive: nonsense"},
		{"encode gzip\nfile_server\n", "app.caddyfile, line 2: the handler file_server is not allowed here"},
		{"respond {env.HOME}", "app.caddyfile, line 1: the placeholder {env.NAME} is not allowed here"},
		{"parachute", "app.caddyfile, line 1: the handler parachute is not for services"},
		{" \n", "is empty"},
	} {
		wantOutput(t, p, 2, tt.want, "deploy", app.addr(), "--host", "closed.test", "--with", directives(t, tt.text))
	}
	wantOutput(t, p, 2, "no such file", "deploy", app.addr(), "--host", "closed.test", "--with", "/nonexistent/file")
	wantOutput(t, p, 2, "--with", "deploy", app.addr(), "--host", "closed.test", "--with", "")
	check(2)
	wantOutput(t, p, 10, "with: 5 lines", "deploy", app.addr(), "--host", "closed.test", "--with", directives(t, "encode"), "--dry-run")

	wantOutput(t, p, 0, "with: 5 lines", "deploy", app.addr(), "--host", "closed.test", "--unset", "with")
	if resp, _ := askTwice(t, p, "closed.test", "/", nil); resp.StatusCode != 200 {
		t.Errorf("without handlers: %s", resp.Status)
	}
	wantOutput(t, p, 0, "v4 is live", "rollback", "closed.test")
	check(4)

	services := filepath.Join(t.TempDir(), "services.yaml")
	must(t, os.WriteFile(services, fmt.Appendf(nil, "hosts: [open.test]\ntargets: [%q]\nwith: |\n  respond \"closed for today\" 503\n", app.addr()), 0o600))
	wantOutput(t, p, 0, "v2 is live", "apply", "-f", services)
	if resp, body := askTwice(t, p, "open.test", "/", nil); resp.StatusCode != 503 || body != "closed for today" {
		t.Errorf("what was applied: %s %q", resp.Status, body)
	}
	wantOutput(t, p, 0, "unchanged", "apply", "-f", services)
}

// TestServiceWithoutItsHandlersIsRefused at a start, because it may have been a password that
// is missing, and a reload that would end in that is refused.
func TestServiceWithoutItsHandlersIsRefused(t *testing.T) {
	p := newProxy(t)
	file := filepath.Join(p.Dir, "sites.Caddyfile")
	allow := func(what string) {
		must(t, os.WriteFile(file, fmt.Appendf(nil, "{\n\tparachute {\n\t\tallow_handlers %s\n\t}\n}\n", what), 0o600))
	}
	p.Args = []string{"--config", file}
	allow("all")
	must(t, p.Start())
	app := startApp(t, "app", nil)
	rare := api.DeployRequest{Hosts: []string{"rare.test"}, Targets: []string{app.addr()}, With: "respond \"home of {env.HOME}\""}
	deploy(t, p, rare)
	deploy(t, p, api.DeployRequest{Hosts: []string{"web.test"}, Targets: []string{app.addr()}, With: "header X-A b"})
	want := func(host string, status int, body string) {
		t.Helper()
		resp, got := askTwice(t, p, host, "/", nil)
		if resp.StatusCode != status || !strings.Contains(got, body) {
			t.Errorf("%s: %s %q, want %d %q", host, resp.Status, got, status, body)
		}
	}
	want("rare.test", 200, "home of "+p.Dir)

	allow("safe")
	if err := p.ReloadConfig(patience); err == nil || !strings.Contains(p.Log(), "the service rare.test: the handlers of the service cannot be made: the placeholder {env.NAME} is not allowed here") {
		t.Errorf("the reload: %v", err)
	}
	want("rare.test", 200, "home of "+p.Dir)
	want("web.test", 200, "app")

	_, err := p.Stop(patience)
	must(t, err)
	must(t, p.Start())
	want("rare.test", 503, "the service's handlers cannot be used")
	want("web.test", 200, "app")
	wantOutput(t, p, 0, "broken: v1 refuses requests: the handlers of the service cannot be made", "list", "--wide")
	wantOutput(t, p, 0, "v1 refuses requests: the handlers of the service cannot be made", "status", "rare.test")
	if !strings.Contains(p.Log(), "service refuses requests: its handlers cannot be used; deploy it again") {
		t.Errorf("the log does not tell:\n%s", tail(p.Log(), 2000))
	}
	wantOutput(t, p, 2, "--with, line 1: the placeholder", "deploy", app.addr(), "--host", "rare.test")
	wantOutput(t, p, 0, "v2 is live", "deploy", app.addr(), "--host", "rare.test", "--unset", "with")
	want("rare.test", 200, "app")
	must(t, p.ReloadConfig(patience))
}

// handlersUnderLoad asks services with handlers until it is stopped, and counts wrong answers.
type handlersUnderLoad struct {
	stop    func()
	answers atomic.Int64
}

func startHandlersUnderLoad(t *testing.T, p *rig.Proxy, hosts []string, check func(host string, resp *http.Response, body string) bool) *handlersUnderLoad {
	l := new(handlersUnderLoad)
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for i := range 6 {
		clients.Go(func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr, Timeout: patience}
			for n := i; ctx.Err() == nil; n++ {
				host := hosts[n%len(hosts)]
				req, err := http.NewRequest(http.MethodGet, p.URL()+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Host = host
				resp, err := client.Do(req)
				if err != nil {
					t.Errorf("%s: %v", host, err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !check(host, resp, string(body)) {
					t.Errorf("%s: %s %v %.100q (%v)", host, resp.Status, resp.Header, body, err)
					return
				}
				l.answers.Add(1)
			}
		})
	}
	l.stop = func() {
		cancel()
		clients.Wait()
	}
	return l
}

// TestHandlersAreSwappedUnderLoad: no answer is wrong, and nothing is left behind. It takes 20 swaps, or 200
// with PARACHUTE_SOAK.
func TestHandlersAreSwappedUnderLoad(t *testing.T) {
	warmUp, swaps := soakCount(t, 5, 20), soakCount(t, 20, 200)
	p := startProxy(t)
	page := strings.Repeat("a page that is worth it ", 100)
	var apps [2]*app
	for i := range apps {
		apps[i] = startApp(t, fmt.Sprint("app-", i), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, fmt.Sprint(i, page))
		})
	}
	swap := func(i int) {
		t.Helper()
		deploy(t, p, api.DeployRequest{Service: "web", Targets: []string{apps[i%2].addr()}, With: fmt.Sprintf("encode gzip\nheader X-App %d\nheader X-Release {parachute.release}\n", i%2)})
	}
	swap(0)
	load := startHandlersUnderLoad(t, p, []string{"any.test"}, func(_ string, resp *http.Response, body string) bool {
		return resp.StatusCode == 200 && resp.Uncompressed && body == resp.Header.Get("X-App")+page && resp.Header.Get("X-Release") != ""
	})
	for i := range warmUp {
		swap(i + 1)
	}
	before := takeInventory(t, p)
	for i := range swaps {
		swap(i + 1)
	}
	load.stop()
	if load.answers.Load() < 200 {
		t.Errorf("only %d requests were answered", load.answers.Load())
	}
	wantInventory(t, p, before)
	t.Logf("%d answers, %d swaps", load.answers.Load(), swaps)
}

// wantInventory fails the test unless a proxy has no more than it had before, in the end.
func wantInventory(t *testing.T, p *rig.Proxy, before inventory) {
	t.Helper()
	var after inventory
	deadline := time.Now().Add(patience)
	for after = takeInventory(t, p); !after.within(before) && time.Now().Before(deadline); after = takeInventory(t, p) {
		sleepUntil(t.Context(), 200*time.Millisecond)
	}
	t.Logf("before: %+v, after: %+v", before, after)
	if !after.within(before) {
		t.Errorf("there was %+v before and is %+v after", before, after)
	}
}

// TestReloadsKeepTheHandlersOfServices under load: 10 of them with 10 services, or 50 with 50 with
// PARACHUTE_SOAK.
func TestReloadsKeepTheHandlersOfServices(t *testing.T) {
	services, reloads := soakCount(t, 10, 50), soakCount(t, 10, 50)
	p := newProxy(t)
	file := filepath.Join(p.Dir, "sites.Caddyfile")
	must(t, os.WriteFile(file, []byte("{\n}\n"), 0o600))
	p.Args = []string{"--config", file}
	must(t, p.Start())
	app := startApp(t, "app", nil)
	var hosts []string
	for i := range services {
		host := fmt.Sprintf("s%d.test", i)
		hosts = append(hosts, host)
		deploy(t, p, api.DeployRequest{Hosts: []string{host}, Targets: []string{app.addr()}, Force: true, With: "encode gzip\nheader X-Host " + host + "\n@no path /no\nerror @no 403\n"})
	}
	load := startHandlersUnderLoad(t, p, hosts, func(host string, resp *http.Response, body string) bool {
		return resp.StatusCode == 200 && body == "app" && resp.Header.Get("X-Host") == host
	})
	for range 5 {
		must(t, p.ReloadConfig(patience))
	}
	before := takeInventory(t, p)
	for range reloads {
		must(t, p.ReloadConfig(patience))
	}
	load.stop()
	if load.answers.Load() < 200 {
		t.Errorf("only %d requests were answered", load.answers.Load())
	}
	wantInventory(t, p, before)
}

// TestHandlersSeeTheSameOnTheFastPath as on the way through Caddy's server, which has the first
// request of a connection.
func TestHandlersSeeTheSameOnTheFastPath(t *testing.T) {
	for _, trusted := range []string{"192.0.2.0/24", "127.0.0.0/8"} {
		p := startProxy(t, "--trusted-proxies", trusted)
		app := startApp(t, "app", nil)
		placeholders := []string{
			"client_ip", "remote_host", "host", "hostport", "scheme", "method", "uri", "path", "query", "http.vars.trusted_proxy", "http.vars.client_ip",
			"http.request.proto", "http.request.orig_uri", "http.request.header.X-A", "http.request.header.X-Forwarded-For", "http.request.local.port", "http.request.cookie.c",
			"parachute.service", "parachute.release", "parachute.target",
		}
		deploy(t, p, api.DeployRequest{Service: "web", Targets: []string{app.addr()}, With: "rewrite /a* /b{uri}\nrespond <<END\n" + "{" + strings.Join(placeholders, "}\n{") + "}\nEND\n"})
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		var first string
		for i := range 3 {
			req, err := http.NewRequest(http.MethodGet, p.URL()+"/a?b=c", nil)
			must(t, err)
			req.Host = "any.test"
			req.Header.Set("X-A", "b")
			req.Header.Set("X-Forwarded-For", "203.0.113.9")
			req.AddCookie(&http.Cookie{Name: "c", Value: "d"})
			resp, err := tr.RoundTrip(req)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			must(t, err)
			if i == 0 {
				first = string(body)
				lines := strings.Split(first, "\n")
				if client := lines[0]; (client == "203.0.113.9") != (trusted == "127.0.0.0/8") || lines[6] != "/b/a?b=c" || lines[17] != "web" || lines[18] != "1" {
					t.Errorf("with %s trusted:\n%s", trusted, first)
				}
			}
			if string(body) != first {
				t.Errorf("request %d sees\n%s\nand the first\n%s", i+1, body, first)
			}
		}
	}
}

// TestTracesNameServiceReleaseAndTarget: the directives are those of docs/HANDLERS.md.
func TestTracesNameServiceReleaseAndTarget(t *testing.T) {
	page, err := os.ReadFile("../docs/HANDLERS.md")
	must(t, err)
	from := strings.Index(string(page), "```text\ntracing {")
	text, _, _ := strings.Cut(string(page[from+len("```text\n"):]), "```")
	var mu sync.Mutex
	var spans []byte // in the form of protobuf, in which texts are as they are
	collector := startApp(t, "collector", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		spans = append(spans, body...)
	})
	seen := make(chan string, 10)
	app := startApp(t, "app", func(w http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Traceparent") })
	p := newProxy(t, "--access-log")
	p.Env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + collector.addr(), "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_COMPRESSION=none", "OTEL_TRACES_SAMPLER=always_on"}
	must(t, p.Start())
	deploy(t, p, api.DeployRequest{Service: "traced-service", Targets: []string{app.addr()}, With: text})
	const trace = "0af7651916cd43dd8448eb211c80319c"
	resp, _ := askTwice(t, p, "any.test", "/", func(r *http.Request) { r.Header.Set("Traceparent", "00-"+trace+"-b7ad6b7169203331-01") })
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	for range 2 {
		if got := arrive(t, "the request", seen); !strings.HasPrefix(got, "00-"+trace+"-") || strings.Contains(got, "b7ad6b7169203331") {
			t.Errorf("the application gets the traceparent %q", got)
		}
	}
	_, err = p.Stop(patience) // which sends what has not been sent yet
	must(t, err)
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"parachute.service", "traced-service", "parachute.release", "parachute.target", app.addr()} {
		if !strings.Contains(string(spans), want) {
			t.Errorf("no span has %q in %d bytes", want, len(spans))
		}
	}
	if !strings.Contains(p.Log(), `"traceID":"`+trace) {
		t.Error("the access log does not name the trace")
	}
}

// TestAccessLogNamesTheServiceOfWhatHandlersAnswer, why they refuse a request, and who has got in.
func TestAccessLogNamesTheServiceOfWhatHandlersAnswer(t *testing.T) {
	p := startProxy(t, "--access-log", "--metrics-port", "0")
	app := startApp(t, "app", nil)
	deploy(t, p, api.DeployRequest{Service: "closed-service", Targets: []string{app.addr()}, BasicAuth: []string{"bob:" + bobsHash}})
	if resp, _ := askTwice(t, p, "any.test", "/refused", func(r *http.Request) { r.Header.Set("X-Request-Id", "mine") }); resp.StatusCode != 401 {
		t.Error(resp.Status)
	}
	if resp, _ := askTwice(t, p, "any.test", "/served", asBob); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	waitFor(t, "the access log", func() bool { return strings.Count(p.Log(), `"handled request"`) == 4 })
	for line := range strings.Lines(p.Log()) {
		if !strings.Contains(line, `"handled request"`) {
			continue
		}
		wants := []string{`"service":"closed-service","release":1`, `"status":401`, `"user_id":""`, `"request_id":"mine"`, `"reason":"not authenticated"`}
		if strings.Contains(line, "/served") {
			wants = []string{`"service":"closed-service","release":1,"target":"` + app.addr(), `"status":200`, `"user_id":"bob"`, `"request_id":"`}
		}
		for _, want := range wants {
			if !strings.Contains(line, want) {
				t.Errorf("there is no %s in %s", want, line)
			}
		}
	}
}

// TestUpgradesKeepTheHandlersOfServices under load.
func TestUpgradesKeepTheHandlersOfServices(t *testing.T) {
	p := startProxy(t)
	app := startApp(t, "app", nil)
	var hosts []string
	for i := range 5 {
		host := fmt.Sprintf("s%d.test", i)
		hosts = append(hosts, host)
		deploy(t, p, api.DeployRequest{Hosts: []string{host}, Targets: []string{app.addr()}, Force: true, Headers: []string{"X-Host: " + host}, Compress: true})
	}
	load := startHandlersUnderLoad(t, p, hosts, func(host string, resp *http.Response, body string) bool {
		return resp.StatusCode == 200 && body == "app" && resp.Header.Get("X-Host") == host
	})
	for range 3 {
		upgrade(t, p)
		deploy(t, p, api.DeployRequest{Hosts: []string{hosts[0]}, Targets: []string{app.addr()}, Force: true})
	}
	load.stop()
	if load.answers.Load() < 200 {
		t.Errorf("only %d requests were answered", load.answers.Load())
	}
}

// TestOptionsThatBecomeHandlers as they are given on a command line.
func TestOptionsThatBecomeHandlers(t *testing.T) {
	p := startProxy(t)
	app := startApp(t, "app", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Frame-Options", "ALLOW")
		_, _ = io.WriteString(w, r.URL.Path+strings.Repeat(" compress me", 100))
	})
	people := filepath.Join(t.TempDir(), "people")
	must(t, os.WriteFile(people, []byte("# who gets in\nbob:hiccup\neve:"+bobsHash+"\n"), 0o600))
	r := wantOutput(t, p, 0, "v1 is live", "deploy", app.addr(), "--host", "app.test", "--compress", "--basic-auth-file", people,
		"--header", "X-Frame-Options: DENY", "--header", "Permissions-Policy: camera=(), microphone=()", "--redirect", "/old /new 301", "--rewrite", "/v1/* /v2{uri}", "--hsts",
		"--deny-ip", "192.0.2.0/24,198.51.100.1")
	if strings.Contains(r.Stdout+r.Stderr, "$2a$") {
		t.Errorf("the deploy shows hashes:\n%s%s", r.Stdout, r.Stderr)
	}
	resp, _ := askTwice(t, p, "app.test", "/", nil)
	if resp.StatusCode != 401 || resp.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("without a password: %s %v", resp.Status, resp.Header)
	}
	resp, body := askTwice(t, p, "app.test", "/v1/x", func(r *http.Request) {
		asBob(r)
		r.Header.Set("Accept-Encoding", "gzip")
		r.Header.Set("X-Forwarded-Proto", "https") // from nobody who is trusted
	})
	unzipped, err := gzip.NewReader(strings.NewReader(body))
	must(t, err)
	plain, err := io.ReadAll(unzipped)
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(string(plain), "/v2/v1/x ") || fmt.Sprint(resp.Header["X-Frame-Options"]) != "[DENY]" ||
		resp.Header.Get("Permissions-Policy") != "camera=(), microphone=()" {
		t.Errorf("with the password: %s %v %.40q", resp.Status, resp.Header, plain)
	}
	if resp, _ := askTwice(t, p, "app.test", "/old", nil); resp.StatusCode != 301 || resp.Header.Get("Location") != "/new" {
		t.Errorf("the redirect: %s %v", resp.Status, resp.Header)
	}
	status := run(t, p, "status").Stdout
	for _, want := range []string{"basic-auth-file bob,eve (", "header X-Frame-Options: DENY,Permissions-Policy", "compress true", "redirect /old /new 301"} {
		if !strings.Contains(status, want) {
			t.Errorf("status does not show %q:\n%s", want, status)
		}
	}
	if strings.Contains(status, "$2a$") || strings.Contains(run(t, p, "history", "app.test").Stdout, "$2a$") {
		t.Errorf("hashes are shown:\n%s", status)
	}
	wantOutput(t, p, 0, "allow-ip: all -> 127.0.0.1", "deploy", app.addr(), "--host", "app.test", "--allow-ip", "127.0.0.1")
	if resp, _ := askTwice(t, p, "app.test", "/", asBob); resp.StatusCode != 200 {
		t.Errorf("from an address that is allowed: %s", resp.Status)
	}
	wantOutput(t, p, 0, "basic-auth-file: bob,eve (", "deploy", app.addr(), "--host", "app.test", "--unset", "basic-auth-file,deny-ip", "--allow-ip", "192.0.2.1")
	if resp, _ := askTwice(t, p, "app.test", "/", nil); resp.StatusCode != 403 {
		t.Errorf("from an address that is not allowed: %s", resp.Status)
	}
	for want, args := range map[string][]string{
		"--rate-limit needs a plugin":                    {"--rate-limit", "100/1m"},
		"--redirect: \"/old\" is not a redirect":         {"--redirect", "/old"},
		"--allow-ip: \"everybody\" is not an address":    {"--allow-ip", "everybody"},
		"--basic-auth-file":                              {"--basic-auth-file", ""},
		"is empty":                                       {"--basic-auth-file", directives(t, " ")},
		"line 1: an account is written as":               {"--basic-auth-file", directives(t, "hiccup")},
		"--forward-auth-header has no effect without":    {"--forward-auth-header", "Remote-User"},
		"--header: \"X-A\" is not a header field":        {"--header", "X-A"},
		"the placeholder {env.NAME} is not allowed here": {"--header", "X-A: {env.HOME}"},
	} {
		wantOutput(t, p, 2, want, append([]string{"deploy", app.addr(), "--host", "app.test"}, args...)...)
	}
}

// TestWhatKeepsNobodyOutAnyMoreIsTold by a deploy and by a rollback, and a password over plain HTTP.
func TestWhatKeepsNobodyOutAnyMoreIsTold(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	app := startApp(t, "app", nil)
	people := filepath.Join(t.TempDir(), "people")
	must(t, os.WriteFile(people, []byte("# who may\nada:correct horse\n"), 0o600))
	const plain, open = "warning: a.test has --basic-auth-file without --tls: others on the way can read the passwords", "warning: a.test has no --basic-auth-file any more: it asks nobody for a password"
	wantOutput(t, p, 0, "v1 is live", "deploy", app.addr(), "--host", "a.test")
	protect := []string{"deploy", app.addr(), "--host", "a.test", "--basic-auth-file", people}
	wantOutput(t, p, 10, plain, append(protect, "--dry-run")...)
	wantOutput(t, p, 0, plain, protect...)
	wantOutput(t, p, 0, "nothing would change", append(protect, "--dry-run")...)
	wantOutput(t, p, 10, open, "deploy", app.addr(), "--host", "a.test", "--unset", "basic-auth-file", "--dry-run")
	if r := wantOutput(t, p, 0, "v3 is live", protect...); strings.Contains(r.Stderr, "warning") {
		t.Errorf("what was so before is told again:\n%s", r.Stderr)
	}
	wantOutput(t, p, 0, open, "rollback", "a.test", "--to", "v1")
}
