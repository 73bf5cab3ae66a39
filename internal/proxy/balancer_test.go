package proxy

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestClientSticksToItsTarget for as long as that serves, and loses nothing when it
// does not.
func TestClientSticksToItsTarget(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b, c := testkit.StartApp(t, "a"), testkit.StartApp(t, "b"), testkit.StartApp(t, "c")
	deploy := func(apps ...*testkit.App) {
		req := requestFor("app", apps...)
		req.Sticky = true
		e.deploy(req)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: e.client.Transport, Jar: jar}
	get := func() string {
		t.Helper()
		resp, err := client.Do(e.request("GET", "", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", resp.Status, err)
		}
		for _, cookie := range resp.Cookies() {
			for _, app := range []*testkit.App{a, b, c} {
				if host, _, _ := net.SplitHostPort(app.Target); strings.Contains(cookie.Value, host) {
					t.Errorf("the cookie %s shows the target", cookie.Value)
				}
			}
		}
		return string(body)
	}
	deploy(a, b)
	first := get()
	for range 20 {
		if got := get(); got != first {
			t.Fatalf("served by %q and then by %q", first, got)
		}
	}
	// The target stays in the next release.
	deploy(a, b, c)
	for range 20 {
		if got := get(); got != first {
			t.Fatalf("served by %q and, after a deploy, by %q", first, got)
		}
	}
	// It is gone from the one after that.
	if first == "a" {
		deploy(b, c)
	} else {
		deploy(a, c)
	}
	next := get()
	for range 20 {
		if got := get(); got != next || got == first {
			t.Fatalf("served by %q, then by %q and then by %q", first, next, got)
		}
	}
}
