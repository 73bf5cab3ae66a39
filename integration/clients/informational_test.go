package clients

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Trap 30: an upload that asks whether it may come is told so once, whoever answers:
// the proxy, or the app through it.
func TestExpectedContinueComesOnce(t *testing.T) {
	t.Parallel()
	const size = 30_000 // fits into the windows of every protocol
	for name, app := range map[string]func(t *testing.T) string{
		"app that reads": func(t *testing.T) string {
			return startApp(t, func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n)
			}).addr()
		},
		"app that never says continue": func(t *testing.T) string {
			return startRawApp(t, serveRaw(func(r *rawRequest) string { return ok(fmt.Sprint(len(r.body))) })).addr
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				x := newSite(t, plain.Get(t), app(t))
				w := x.dialWire(t, protocol)
				w.begin("POST", "/", true, field{"Expect", "100-continue"}, field{"Content-Length", fmt.Sprint(size)})
				answers := make(chan wireAnswer, 1)
				go func() { answers <- w.answer() }()
				// The client does not wait for ever, as RFC 9110, section 10.1.1, says.
				w.send(strings.Repeat("x", size))
				w.end()
				a := arrive(t, "the answer", answers)
				if a.status != 200 || a.body != fmt.Sprint(size) || a.err != nil {
					t.Errorf("%s", a)
				}
				if n := count(a.informational, 100); n > 1 {
					t.Errorf("100 Continue came %d times", n)
				}
			})
		})
	}
}

func count(codes []int, code int) (n int) {
	for _, c := range codes {
		if c == code {
			n++
		}
	}
	return n
}

// A client that waits for the 100 gets it before it has sent a byte of the body.
func TestContinueDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		})
		c := newSite(t, plain.Get(t), a.addr()).client(t, protocol)
		trace, got := traceInformational()
		body, upload := io.Pipe()
		req := c.request(t, http.MethodPost, "/", body)
		req.ContentLength = 4
		req.Header.Set("Expect", "100-continue")
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
		done := make(chan error, 1)
		go func() {
			a, err := c.ask(req)
			if err == nil && a.body != "4" {
				err = fmt.Errorf("%s %q", a.Status, a.body)
			}
			done <- err
		}()
		waitFor(t, "100 Continue", func() bool { return count(got(), 100) == 1 })
		_, err := io.WriteString(upload, "body")
		must(t, err)
		must(t, upload.Close())
		must(t, arrive(t, "the answer", done))
		if n := count(got(), 100); n != 1 {
			t.Errorf("100 Continue came %d times", n)
		}
	})
}

// traceInformational records the informational answers of a request.
func traceInformational() (trace *httptrace.ClientTrace, got func() []int) {
	var mu sync.Mutex
	var codes []int
	trace = &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		mu.Lock()
		defer mu.Unlock()
		codes = append(codes, code)
		return nil
	}}
	return trace, func() []int {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(codes)
	}
}

// A refusal that comes instead of the 100 saves the upload.
func TestRefusalInsteadOfContinueArrives(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
		x := newSite(t, plain.Get(t), a.addr())
		w := x.dialWire(t, protocol)
		w.begin("POST", "/", true, field{"Expect", "100-continue"}, field{"Content-Length", "1000000000"})
		if got := w.answer(); got.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s", got)
		}
		closeWire(w)
		x.wantUnharmed(t)
	})
}

// Ten early hints reach the client one by one, and with what they say.
func TestEarlyHintsArrive(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
			for n := range 10 {
				w.Header().Set("Link", fmt.Sprintf("</%d.css>; rel=preload", n))
				w.WriteHeader(http.StatusEarlyHints)
			}
			w.Header().Set("Link", "</last.css>")
			_, _ = io.WriteString(w, "done")
		})
		got := newSite(t, plain.Get(t), a.addr()).askWire(t, protocol, "GET", "/", "")
		if count(got.informational, 103) != 10 || got.body != "done" || got.header.Get("Link") != "</last.css>" {
			t.Errorf("%s, Link: %s", got, got.header.Get("Link"))
		}
	})
}

// Trap 30 with the client that most people have. It waits for the 100 as long as it
// is told to.
func TestCurlUploadsWithExpect(t *testing.T) {
	t.Parallel()
	version, err := exec.Command("curl", "--version").Output()
	if err != nil {
		t.Skip("skipped: there is no curl here")
	}
	file := filepath.Join(t.TempDir(), "upload")
	must(t, os.WriteFile(file, pattern(2<<20), 0o600))
	for protocol, how := range map[string]struct{ feature, flag string }{
		h1: {"", "--http1.1"}, h1TLS: {"SSL", "--http1.1"}, h2: {"HTTP2", "--http2"}, h3: {"HTTP3", "--http3-only"},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(version), how.feature) {
				t.Skipf("skipped: this curl cannot do %s", how.feature)
			}
			a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprintf(w, "%d bytes over %s\n", n, r.Header.Get("X-Forwarded-Proto"))
			})
			x := newSite(t, plain.Get(t), a.addr())
			url, port := "http://%s:%d/", x.HTTPPort
			if protocol != h1 {
				url, port = "https://%s:%d/", x.HTTPSPort
			}
			out, err := exec.Command("curl", how.flag, "-sv", "--insecure", "--max-time", "20", "--expect100-timeout", "15",
				"--resolve", fmt.Sprintf("%s:%d:127.0.0.1", x.host, port), "-H", "Expect: 100-continue",
				"--data-binary", "@"+file, fmt.Sprintf(url, x.host, port)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := len(regexp.MustCompile(`(?m)^< HTTP/[0-9.]+ 100`).FindAll(out, -1)); n != 1 {
				t.Errorf("100 Continue came %d times\n%s", n, out)
			}
			if !strings.Contains(string(out), fmt.Sprint(2<<20, " bytes over")) {
				t.Errorf("the upload did not arrive:\n%s", out)
			}
			if strings.Contains(string(out), "Done waiting for 100-continue") {
				t.Errorf("curl has waited in vain:\n%s", out)
			}
		})
	}
}
