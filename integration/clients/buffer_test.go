package clients

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// withoutLength hides the length of a body from the client that sends it.
func withoutLength(r io.Reader) io.Reader { return io.MultiReader(r) }

// A body that is too large is answered with 413 in every protocol, whether the request says how
// long it is or not (RFC 9110, section 15.5.14), and what is left of it is no request to anyone.
func TestLargeBodyIsAnsweredWith413(t *testing.T) {
	t.Parallel()
	x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{startApp(t, named("app")).addr()}, MaxBody: 64 << 10})
	upload := strings.Repeat(x.inBody(), 2<<20/len(x.inBody()))
	eachProtocol(t, func(t *testing.T, protocol string) {
		c := x.client(t, protocol)
		for name, body := range map[string]io.Reader{"with a length": strings.NewReader(upload), "without": withoutLength(strings.NewReader(upload))} {
			got, err := c.ask(c.request(t, http.MethodPost, "/", body))
			if err != nil || got.StatusCode != http.StatusRequestEntityTooLarge || got.Header.Get("X-Parachute-Error") != "large_body" {
				t.Errorf("%s: %s", name, describe(got, err))
			}
			got, err = c.ask(c.request(t, http.MethodPost, "/", strings.NewReader(upload[:64<<10])))
			if err != nil || got.StatusCode != http.StatusOK || got.body != "app" {
				t.Errorf("a body that is as large as it may be: %s", describe(got, err))
			}
		}
		x.wantUnharmed(t)
	})
}

// An upload that is buffered arrives whole, at the release that serves when all of it is there, over
// every protocol and at every kind of target.
func TestBufferedUploadFollowsASwitch(t *testing.T) {
	t.Parallel()
	const size = 3 << 20 // more than is in memory
	body := string(pattern(size))
	eachKindOfTarget(t, func(t *testing.T, start startTarget) {
		t.Parallel()
		eachProtocol(t, func(t *testing.T, protocol string) {
			x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{startApp(t, named("old")).addr()}, BufferRequests: true})
			r, w := io.Pipe()
			c := x.client(t, protocol)
			type result struct {
				answer
				err error
			}
			answered := make(chan result, 1)
			go func() {
				got, err := c.ask(c.request(t, http.MethodPost, "/", r))
				answered <- result{got, err}
			}()
			_, err := io.WriteString(w, body[:size/2])
			must(t, err)
			_, target := start(t, func(w http.ResponseWriter, r *http.Request) {
				got, err := io.ReadAll(r.Body)
				if err != nil || string(got) != body || r.ContentLength != size {
					t.Errorf("the app got %d bytes of %d, %v", len(got), r.ContentLength, err)
				}
				_, _ = io.WriteString(w, "new")
			})
			x.deploy(t, api.DeployRequest{Targets: []string{target}, BufferRequests: true})
			_, err = io.WriteString(w, body[size/2:])
			must(t, err)
			must(t, w.Close())
			if got := arrive(t, "the answer", answered); got.err != nil || got.StatusCode != http.StatusOK || got.body != "new" {
				t.Errorf("%s", describe(got.answer, got.err))
			}
		})
	})
}

// With everything buffered, an answer without a length is there at once, and a gRPC call or a
// WebSocket is not touched: their own tests run through such a service, too.
func TestBufferedServiceStreamsWhatStreams(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		goOn := make(chan struct{})
		a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "<html>")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			_, _ = io.WriteString(w, "</html>")
		})
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{a.addr()}, BufferRequests: true, BufferResponses: true, MaxResponseBody: 1 << 20})
		c := x.client(t, protocol)
		resp, err := c.Do(c.request(t, http.MethodGet, "/", nil))
		must(t, err)
		defer resp.Body.Close()
		first := make([]byte, len("<html>"))
		if _, err := io.ReadFull(resp.Body, first); err != nil {
			t.Errorf("the first part: %v", err)
		}
		close(goOn)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "</html>" {
			t.Errorf("the rest: %q, %v", rest, err)
		}
	})
}
