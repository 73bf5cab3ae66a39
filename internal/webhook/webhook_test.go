package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestSignatureIsThatOfThePublishedVector is the vector that the libraries of Standard
// Webhooks are tested with (github.com/standard-webhooks/standard-webhooks, libraries).
func TestSignatureIsThatOfThePublishedVector(t *testing.T) {
	secrets, err := parseSecrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signed as %s, want %s", got, want)
	}
}

func TestSecretsAreCheckedWhenTheyAreRead(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(make([]byte, 65))
	for text, want := range map[string]string{
		"":                                 "there is no secret",
		"# none\n\n":                       "there is no secret",
		"secret":                           "line 1 does not begin with whsec_",
		"\nwhsec_***":                      "line 2: what is behind whsec_ is not base64",
		"whsec_c2hvcnQ=":                   "the secret has 5 bytes",
		"whsec_" + long:                    "the secret has 65 bytes",
		strings.Repeat(goodSecret+"\n", 5): "there are 5 secrets",
	} {
		if _, err := parseSecrets(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if secrets, err := parseSecrets("# new\n" + goodSecret + "\r\n# old\n" + otherSecret + "\n"); err != nil || len(secrets) != 2 {
		t.Errorf("%d secrets, %v", len(secrets), err)
	}
}

const (
	goodSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
)

// sliceFeed is a [Feed] of what a test sends.
type sliceFeed chan []api.FeedEvent

func (f sliceFeed) Next(ctx context.Context) ([]api.FeedEvent, error) {
	select {
	case events := <-f:
		return events, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// event returns the nth event of a feed.
func event(n int) api.FeedEvent {
	return api.FeedEvent{ID: fmt.Sprint("abc-", n), Data: api.Event{Kind: api.EventSwitched, Service: "shop", Release: n, Time: time.Unix(1, 0).UTC()}}
}

// received is a message as an endpoint has got it.
type received struct {
	header http.Header
	body   []byte
}

// start runs an endpoint that answers with what answer says to its nth request.
func start(t *testing.T, answer func(n int, w http.ResponseWriter)) (sliceFeed, *Endpoint, <-chan received) {
	t.Helper()
	messages := make(chan received, 5000)
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		messages <- received{r.Header, body}
		answer(int(n.Add(1)), w)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(goodSecret+"\n"+otherSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &Endpoint{
		URL: server.URL + "/hook", SecretFile: file, Source: "/parachute/test", UserAgent: "parachute/test", Logger: zap.NewNop(),
		retries: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond},
	}
	feed := make(sliceFeed)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Run(ctx, feed)
	}()
	t.Cleanup(func() {
		cancel()
		testkit.Receive(t, ended, "the end of the endpoint")
	})
	return feed, e, messages
}

// verify holds a message against a secret, as a receiver does.
func (m received) verify(secret string) bool {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", m.header.Get("webhook-id"), m.header.Get("webhook-timestamp"), m.body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, signature := range strings.Fields(m.header.Get("webhook-signature")) {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return true
		}
	}
	return false
}

func TestWhatAnotherProcessTellsIsNotToldTwice(t *testing.T) {
	t.Parallel()
	feed, _, messages := start(t, func(int, http.ResponseWriter) {})
	followed := event(1)
	followed.Data.Followed = true
	feed <- []api.FeedEvent{followed, event(2)}
	if m := testkit.Receive(t, messages, "the message"); m.header.Get("webhook-id") != "abc-2" {
		t.Errorf("the first message is %s", m.body)
	}
}

func TestMessagesAreSignedCloudEvents(t *testing.T) {
	t.Parallel()
	feed, _, messages := start(t, func(int, http.ResponseWriter) {})
	feed <- []api.FeedEvent{event(7)}
	m := testkit.Receive(t, messages, "the message")
	var got map[string]any
	if err := json.Unmarshal(m.body, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"specversion": "1.0", "id": "abc-7", "source": "/parachute/test", "type": "dev.parachute.deployment.switched.v1",
		"subject": "shop", "time": "1970-01-01T00:00:01Z", "datacontenttype": "application/json",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %s", name, got[name], want)
		}
	}
	if data, _ := got["data"].(map[string]any); data["event"] != "switched" || data["release"] != 7.0 {
		t.Errorf("data %v", got["data"])
	}
	if m.header.Get("Content-Type") != "application/cloudevents+json" || m.header.Get("webhook-id") != "abc-7" || m.header.Get("User-Agent") != "parachute/test" {
		t.Errorf("header %v", m.header)
	}
	// Receivers that have the new secret, and those that have not yet, can verify it.
	if !m.verify(goodSecret) || !m.verify(otherSecret) || m.verify("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 24))) {
		t.Errorf("signature %q", m.header.Get("webhook-signature"))
	}
}

// A message that is not taken is sent again with the same id, and holds up no other.
func TestMessagesAreSentAgainUntilTheyAreTaken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter){
		"an error":   func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"a redirect": func(w http.ResponseWriter) { w.Header().Set("Location", "/other"); w.WriteHeader(http.StatusFound) },
		"no answer":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			feed, e, messages := start(t, func(n int, w http.ResponseWriter) {
				if n <= 2 {
					answer(w)
				}
			})
			feed <- []api.FeedEvent{event(1), event(2), event(3)}
			seen := make(map[string]int)
			for range 5 {
				m := testkit.Receive(t, messages, "a message")
				seen[m.header.Get("webhook-id")]++
				if !m.verify(goodSecret) {
					t.Error("a message that is sent again is not signed anew")
				}
			}
			if len(seen) != 3 || seen["abc-3"] > 2 {
				t.Errorf("messages %v", seen)
			}
			testkit.WaitFor(t, "nothing to be pending", func() bool { return e.pending.Load() == 0 })
		})
	}
}

func TestMessagesAreGivenUp(t *testing.T) {
	t.Parallel()
	feed, e, messages := start(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	feed <- []api.FeedEvent{event(1)}
	for range 4 {
		testkit.Receive(t, messages, "an attempt")
	}
	testkit.WaitFor(t, "the message to be given up", func() bool { return e.pending.Load() == 0 })
	if len(messages) != 0 {
		t.Error("it is sent more often")
	}
}

// An endpoint that is gone says so, and is left alone.
func TestGoneEndpointGetsNoMore(t *testing.T) {
	t.Parallel()
	feed, e, messages := start(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusGone) })
	feed <- []api.FeedEvent{event(1)}
	testkit.Receive(t, messages, "the message")
	testkit.WaitFor(t, "the end", e.gone.Load)
	select {
	case feed <- []api.FeedEvent{event(2)}:
	case <-time.After(time.Second): // nobody reads any more
	}
	testkit.WaitFor(t, "nothing to be pending", func() bool { return e.pending.Load() <= 1 })
	if len(messages) != 0 {
		t.Error("it gets another message")
	}
}

// A receiver that never answers costs no more than its queue.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	feed, e, _ := start(t, func(int, http.ResponseWriter) { <-release })
	var all []api.FeedEvent
	for n := range 3 * maxPending {
		all = append(all, event(n))
	}
	feed <- all
	feed <- []api.FeedEvent{{Data: api.Event{Kind: api.EventGap}}} // the reader is free again
	if pending, dropped := e.pending.Load(), e.dropped.Load(); pending > maxPending || pending+dropped < 3*maxPending-1 {
		t.Errorf("%d pending, %d dropped", pending, dropped)
	}
	close(release)
}

// A secret that is replaced needs no restart.
func TestSecretIsReadAnew(t *testing.T) {
	t.Parallel()
	feed, e, messages := start(t, func(int, http.ResponseWriter) {})
	feed <- []api.FeedEvent{event(1)}
	testkit.Receive(t, messages, "the first message")
	if err := os.WriteFile(e.SecretFile, []byte(otherSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	feed <- []api.FeedEvent{event(2)}
	if m := testkit.Receive(t, messages, "the second message"); m.verify(goodSecret) || !m.verify(otherSecret) {
		t.Errorf("signature %q", m.header.Get("webhook-signature"))
	}
}
