package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A redeploy that forgets --tls or --host must not take them away from a live site.
func TestRedeployKeepsWhatItDoesNotName(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	first := run(t, p, "deploy", a.addr(), "--service", "shop", "--host", "shop.test,www.shop.test", "--tls", "internal", "--hold-timeout", "2s", "--force")
	if first.Code != 0 {
		t.Fatalf("%d %s", first.Code, first.Stderr)
	}
	b.unready.Store(true)
	if r := run(t, p, "deploy", b.addr(), "--service", "shop", "--deploy-timeout", "50ms"); r.Code != 3 {
		t.Errorf("--force was kept: %d %s", r.Code, r.Stderr)
	}
	b.unready.Store(false)
	for _, c := range []struct{ args, want, without string }{
		{"", "v2", "changed"},
		{"--hold-timeout 3s", "changed hold-timeout: 2s -> 3s", "tls"},
		{"--tls-redirect=false", "changed tls-redirect: true -> false", "host"},
		{"--host shop.test", "changed host: shop.test,www.shop.test -> shop.test", "tls"},
		{"--unset hold-timeout", "changed hold-timeout: 3s -> 5s", "tls"},
		{"--tls=false", "changed tls: internal -> off", "host"},
		{"--reset", "changed host: shop.test -> any", "tls"},
	} {
		r := run(t, p, append([]string{"deploy", b.addr(), "--service", "shop"}, strings.Fields(c.args)...)...)
		if r.Code != 0 || !strings.Contains(r.Stderr, c.want) || strings.Contains(r.Stderr, "changed "+c.without+":") {
			t.Errorf("deploy %s: %d, want %q in\n%s", c.args, r.Code, c.want, r.Stderr)
		}
	}
}

// Flags about TLS count for a service that has TLS; elsewhere they are a mistake.
func TestFlagsAboutTLSWithoutTLSAreRefused(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	if r := run(t, p, "deploy", a.addr(), "--tls-redirect=false"); r.Code != 2 || !strings.Contains(r.Stderr, "--tls-redirect has no effect without --tls") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if s := services(t, p); len(s) != 0 {
		t.Errorf("%d services are there", len(s))
	}
}

func TestDryRunShowsWhatWouldChangeAndChangesNothing(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	r := run(t, p, "deploy", a.addr(), "--host", "a.test", "--dry-run")
	if want := "a.test would be a new service:\n  targets: none -> " + a.addr() + "\n  host: any -> a.test\n"; r.Code != 10 || r.Stdout != want || r.Stderr != "" {
		t.Errorf("%d %q %q, want %q", r.Code, r.Stdout, r.Stderr, want)
	}
	if s := services(t, p); len(s) != 0 {
		t.Fatalf("%d services are there", len(s))
	}
	run(t, p, "deploy", a.addr(), "--host", "a.test")
	if r := run(t, p, "deploy", a.addr(), "--host", "a.test", "--dry-run"); r.Code != 0 || r.Stdout != "a.test v1: nothing would change\n" {
		t.Errorf("%d %q %s", r.Code, r.Stdout, r.Stderr)
	}
	r = run(t, p, "deploy", b.addr(), "--service", "a.test", "--sticky", "--dry-run", "--output", "json")
	if want := `{"service":"a.test","serving":1,"changes":["targets: ` + a.addr() + ` -> ` + b.addr() + `","sticky: false -> true"]}` + "\n"; r.Code != 10 || strings.ReplaceAll(r.Stdout, `\u003e`, ">") != want {
		t.Errorf("%d %q, want %q", r.Code, r.Stdout, want)
	}
	// What would be refused is refused.
	if r := run(t, p, "deploy", b.addr(), "--service", "other", "--host", "a.test", "--dry-run"); r.Code != 4 || !strings.Contains(r.Stderr, "belongs to the service a.test") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if s := services(t, p); len(s) != 1 || s[0].Active.Release != 1 {
		t.Errorf("services %+v", s)
	}
}

func TestApplyMakesServicesWhatAFileSays(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	file := filepath.Join(t.TempDir(), "services.yaml")
	write := func(text string) {
		t.Helper()
		must(t, os.WriteFile(file, []byte(strings.NewReplacer("A:1", a.addr(), "B:1", b.addr()).Replace(text)), 0o600))
	}
	want := func(code int, stdout string, args ...string) {
		t.Helper()
		r := run(t, p, append([]string{"apply", "-f", file}, args...)...)
		if stdout = strings.NewReplacer("A:1", a.addr(), "B:1", b.addr()).Replace(stdout); r.Code != code || r.Stdout != stdout {
			t.Errorf("apply: %d %q %s\nwant %d %q", r.Code, r.Stdout, r.Stderr, code, stdout)
		}
	}
	write("targets: ['A:1']\nhosts: [a.test]\nsticky: true\n---\nservice: b\ntargets: ['B:1']\nhosts: [b.test]\n")
	want(10, "a.test would be a new service:\n  targets: none -> A:1\n  host: any -> a.test\n  sticky: false -> true\n"+
		"b would be a new service:\n  targets: none -> B:1\n  host: any -> b.test\n", "--dry-run")
	want(0, "a.test v1 is live\nb v1 is live\n")
	want(0, "a.test v1 is unchanged\nb v1 is unchanged\n")
	want(0, "a.test v1: nothing would change\nb v1: nothing would change\n", "--dry-run")
	// It replaces: what the file leaves out has its default.
	write("targets: ['A:1']\nhosts: [a.test]\n---\nservice: b\ntargets: ['B:1']\nhosts: [b.test]\n")
	want(0, "a.test v2 is live\nb v1 is unchanged\n")
	// What is wrong with any service keeps all from being deployed.
	write("targets: ['B:1']\nhosts: [a.test]\n---\nservice: b\ntargets: ['A:1']\nhosts: [a.test]\n")
	r := run(t, p, "apply", "-f", file)
	if s := services(t, p); r.Code != 4 || !strings.Contains(r.Stderr, "service b: the host a.test belongs to the service a.test") || s[0].Active.Release != 2 {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	for name, text := range map[string]string{"an unknown field": "target: web:1", "no YAML": "["} {
		write(text)
		if r := run(t, p, "apply", "-f", file); r.Code != 2 || !strings.Contains(r.Stderr, file) {
			t.Errorf("%s: %d %s", name, r.Code, r.Stderr)
		}
	}
	if r := run(t, p, "apply"); r.Code != 2 || !strings.Contains(r.Stderr, "-f") {
		t.Errorf("without a file: %d %s", r.Code, r.Stderr)
	}
}
