package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Traps 52 and 63: a document that cannot be loaded costs the other services
// nothing, is named in the list, and is not overwritten until a deploy mends it.
func TestOneTornDocumentCostsTheOthersNothing(t *testing.T) {
	p := newProxy(t)
	must(t, p.Start())
	a := startApp(t, "a", nil)
	for _, host := range []string{"one.test", "two.test", "three.test"} {
		deploy(t, p, requestFor(host, a))
	}
	// The third has a previous generation.
	deploy(t, p, requestFor("three.test", a))
	_, err := p.Stop(patience)
	must(t, err)
	tear(t, p, "one.test")
	tear(t, p, "three.test")
	before := documents(t, p)

	must(t, p.Start())
	if _, body := get(t, p, "two.test", "/"); body != "a" {
		t.Errorf("two.test answers %q", body)
	}
	if s := serviceOf(t, p, "three.test"); s.Active == nil || s.Active.Release != 1 {
		t.Errorf("three.test did not fall back to its previous generation: %+v", s)
	}
	if s := serviceOf(t, p, "one.test"); s.Broken == "" || s.Active != nil {
		t.Errorf("one.test is not shown as broken: %+v", s)
	}
	if r := run(t, p, "list"); !strings.Contains(r.Stdout, "broken") {
		t.Errorf("the list does not show the broken service:\n%s", r.Stdout)
	}
	if !strings.Contains(p.Log(), "service is broken") {
		t.Error("the log does not name the broken service")
	}
	if after := documents(t, p); after["/one.test/current.json"] != before["/one.test/current.json"] {
		t.Error("the torn document was overwritten")
	}
	mend := requestFor("one.test", a)
	mend.Reset = true
	deploy(t, p, mend)
	if s := serviceOf(t, p, "one.test"); s.Broken != "" || s.Active == nil {
		t.Errorf("a deploy did not mend one.test: %+v", s)
	}
}

// Trap 53, the other way round: what a newer version wrote is not guessed at.
func TestDocumentOfANewerVersionStopsTheStart(t *testing.T) {
	p := newProxy(t)
	must(t, p.Start())
	deploy(t, p, requestFor("one.test", startApp(t, "a", nil)))
	_, err := p.Stop(patience)
	must(t, err)
	path := documentPath(p, "one.test")
	b, err := os.ReadFile(path)
	must(t, err)
	newer := strings.Replace(string(b), `"format": 1`, `"format": 99`, 1)
	must(t, os.WriteFile(path, []byte(newer), 0o600))

	r := run(t, p, append([]string{"run"}, p.RunArgs()...)...)
	if r.Code != 1 || !strings.Contains(r.Stderr, "one.test") || !strings.Contains(r.Stderr, "newer version") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
}

func documentPath(p *rig.Proxy, service string) string {
	return filepath.Join(p.Dir, "storage", "parachute", "services", service, "current.json")
}

// tear cuts the document of a service in half.
func tear(t *testing.T, p *rig.Proxy, service string) {
	t.Helper()
	path := documentPath(p, service)
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, b[:len(b)/2], 0o600))
}
