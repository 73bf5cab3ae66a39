package clients

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/parachute-proxy/parachute/internal/api"
)

//go:embed testdata/browser.html
var browserPage []byte

// browserReport is what the page has seen.
type browserReport struct {
	Requests  int            `json:"requests"`
	Failed    []string       `json:"failed"`
	Protocols map[string]int `json:"protocols"`
	Closes    []int          `json:"closes"`
	Messages  int            `json:"messages"`
}

// A browser that trusts the proxy's own authority opens an application that was
// deployed with --tls=internal, over HTTP/2 and over HTTP/3, and does not notice
// deploys: no request fails, and its WebSocket is closed with 1001 or not at all.
func TestBrowserDoesNotNoticeDeploys(t *testing.T) {
	t.Parallel()
	chromium := findProgram(t, "chromium", "chromium-browser", "google-chrome")
	certutil := findProgram(t, "certutil")
	const host = "browser.localhost" // which browsers resolve by themselves
	s := startServer(t, nil)
	began, reports, asked := make(chan struct{}, 10), make(chan browserReport, 10), make(chan struct{})
	release := func(name string) *app {
		return startApp(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/":
				w.Header().Set("Content-Type", "text/html")
				_, _ = w.Write(browserPage)
			case "/name":
				select {
				case asked <- struct{}{}:
				default:
				}
				_, _ = io.WriteString(w, name)
			case "/ws":
				echoUntilClosed(w, r)
			case "/began":
				began <- struct{}{}
			case "/result":
				var report browserReport
				if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
					t.Error(err)
				}
				reports <- report
			}
		})
	}
	deploy := func(name string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		_, err := s.Deploy(ctx, api.DeployRequest{
			Targets: []string{release(name).addr()}, Hosts: []string{host}, StreamTimeout: duration(0),
			TLS: &api.TLSRequest{Issuer: api.IssuerInternal},
		})
		must(t, err)
	}
	deploy("first")
	root := filepath.Join(s.Dir, "storage", "pki", "authorities", "local", "root.crt")
	for _, protocol := range []string{"h2", "h3"} {
		deploy("first")
		address := fmt.Sprintf("%s:%d", host, s.HTTPSPort)
		var args []string
		if protocol == "h3" {
			// Otherwise it would not speak HTTP/3 with an authority of one's own.
			args = []string{"--enable-quic", "--origin-to-force-quic-on=" + address}
		} else {
			args = []string{"--disable-quic"}
		}
		browser := startBrowser(t, chromium, certutil, root, append(args, "https://"+address+"/")...)
		arrive(t, "the browser to open the page over "+protocol, began)
		const deploys = 10
		for i := range deploys {
			for range 5 {
				arrive(t, "a request of the browser", asked)
			}
			deploy(fmt.Sprint("release ", i))
		}
		deploy("last")
		report := arrive(t, "what the browser has seen over "+protocol, reports)
		browser()
		if len(report.Failed) > 0 || report.Protocols[protocol] == 0 || len(report.Protocols) != 1 {
			t.Errorf("%s: %+v", protocol, report)
		}
		for _, code := range report.Closes {
			if code != int(websocket.StatusGoingAway) {
				t.Errorf("%s: a WebSocket was closed with %d", protocol, code)
			}
		}
		if len(report.Closes) == 0 || report.Messages == 0 {
			t.Errorf("%s: %d WebSockets were closed, after %d messages", protocol, len(report.Closes), report.Messages)
		}
		t.Logf("%s: %d requests by %v, 0 failed, %d deploys, %d messages, %d WebSockets closed",
			protocol, report.Requests, report.Protocols, deploys+1, report.Messages, len(report.Closes))
	}
}

// findProgram returns the first of the programs that is installed, or skips the test.
func findProgram(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed: nothing is seen through a browser's eyes", names[0])
	panic("unreachable")
}

// startBrowser opens a page in a browser that trusts root, and returns what closes it.
func startBrowser(t *testing.T, chromium, certutil, root string, args ...string) (stop func()) {
	t.Helper()
	home, err := os.MkdirTemp("", "parachute-browser-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	database := filepath.Join(home, ".pki", "nssdb")
	must(t, os.MkdirAll(database, 0o700))
	for _, arguments := range [][]string{
		{"-N", "-d", "sql:" + database, "--empty-password"},
		{"-A", "-d", "sql:" + database, "-n", "parachute", "-t", "C,,", "-i", root},
	} {
		if out, err := exec.Command(certutil, arguments...).CombinedOutput(); err != nil {
			t.Fatalf("certutil: %v\n%s", err, out)
		}
	}
	cmd := exec.Command(chromium, append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-dev-shm-usage", "--disable-component-update", "--host-resolver-rules=MAP *.localhost 127.0.0.1",
		"--user-data-dir=" + filepath.Join(home, "profile"),
	}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME=")
	// Its children are ended with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	stop = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// echoUntilClosed sends every message of a WebSocket back.
func echoUntilClosed(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	for {
		kind, message, err := ws.Read(r.Context())
		if err != nil || ws.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}
