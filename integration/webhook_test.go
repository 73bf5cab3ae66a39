package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A deploy does not wait for a webhook, whatever becomes of its messages.
func TestWebhooksAreToldAndNoDeployWaitsForThem(t *testing.T) {
	messages, release := make(chan string, 100), make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var message struct{ Type, Subject, Source string }
		_ = json.Unmarshal(body, &message)
		if !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") || !strings.HasPrefix(message.Source, "/parachute/") {
			t.Errorf("header %v, body %s", r.Header, body)
		}
		messages <- message.Type + " " + message.Subject
		<-release
	}))
	defer receiver.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600))
	p := startProxy(t, "--webhook", receiver.URL, "--webhook-secret-file", secret)
	a := startApp(t, "a", nil)
	start := time.Now()
	deploy(t, p, to(a))
	deploy(t, p, to(a))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("two deploys took %s while the webhook says nothing", took)
	}
	if got := arrive(t, "the first message", messages); got != "dev.parachute.deployment.accepted.v1 default" {
		t.Errorf("the first message is %q", got)
	}
	close(release)
	seen := make(map[string]int)
	for seen["dev.parachute.deployment.ended.v1 default"] < 2 {
		seen[arrive(t, "a message", messages)]++
	}
	if seen["dev.parachute.deployment.switched.v1 default"] != 2 {
		t.Errorf("messages %v", seen)
	}
}

func TestWebhooksThatCannotWorkAreRefusedAtTheStart(t *testing.T) {
	p := newProxy(t)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("hunter2\n"), 0o600))
	for _, c := range []struct{ args, want string }{
		{"--webhook https://a.test/", "--webhook needs --webhook-secret-file"},
		{"--webhook-secret-file " + secret, "has no effect without --webhook"},
		{"--webhook a.test --webhook-secret-file " + secret, "is not an http or https URL"},
		{"--webhook https://a.test/ --webhook-secret-file /nowhere", "no such file"},
		{"--webhook https://a.test/ --webhook-secret-file " + secret, "line 1 does not begin with whsec_"},
	} {
		r := run(t, p, append(append([]string{"run"}, p.RunArgs()...), strings.Fields(c.args)...)...)
		if r.Code != 1 || !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s: %d, want %q in\n%s", c.args, r.Code, c.want, r.Stderr)
		}
	}
}
