package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// codeBlock is an example of docs/API.md.
type codeBlock struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

func readExamples(t *testing.T) (blocks []codeBlock) {
	t.Helper()
	page, err := os.ReadFile("../docs/API.md")
	must(t, err)
	for _, match := range fence.FindAllSubmatch(page, -1) {
		blocks = append(blocks, codeBlock{string(match[1]), string(match[2])})
	}
	return blocks
}

// TestAPIPageExamplesRun runs the commands of docs/API.md in their order, as they
// are written, for a Unix socket, and changed to TCP in the way that the page
// says. Their answers, and those that the page shows, are as openapi.yaml has them.
func TestAPIPageExamplesRun(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed: the commands of docs/API.md are not run")
	}
	first, second := startApp(t, "first", nil), startApp(t, "second", nil)
	targets := []string{"web-1:3000", first.addr(), "web-2:3000", second.addr()}

	unix, tcp := startProxy(t), startProxyOnTCP(t)
	forms := map[string]*strings.Replacer{
		"unix": strings.NewReplacer(append(targets,
			"/run/parachute/admin.sock", filepath.Join(unix.Dir, "admin.sock"), "localhost:2019", tcp)...),
		"tcp": strings.NewReplacer(append(targets,
			"--unix-socket /run/parachute/admin.sock ", "", "http://localhost/", "http://"+tcp+"/", "localhost:2019", tcp)...),
	}
	for form, replacer := range forms {
		t.Run(form, func(t *testing.T) { runExamples(t, replacer) })
	}
}

func runExamples(t *testing.T, replacer *strings.Replacer) {
	d := readDescription(t)
	var last curlAnswer
	var id string
	var statuses []int
	for _, block := range readExamples(t) {
		if block.language == "json" {
			d.check(t, last.method, last.path, last.status, last.media, []byte(block.text))
			continue
		}
		last = runCurl(t, replacer.Replace(block.text), "ID="+id)
		d.check(t, last.method, last.path, last.status, last.media, []byte(last.body))
		statuses = append(statuses, last.status)
		if last.status == http.StatusAccepted {
			var accepted struct{ ID string }
			must(t, json.Unmarshal([]byte(last.body), &accepted))
			id = accepted.ID
		}
	}
	want := []int{200, 200, 200, 200, 200, 202, 200, 200, 200, 200, 200, 200, 404}
	if fmt.Sprint(statuses) != fmt.Sprint(want) {
		t.Errorf("the commands were answered with %v instead of %v", statuses, want)
	}
}

// curlAnswer is what a curl command got.
type curlAnswer struct {
	method, path string
	status       int
	media, body  string
}

func runCurl(t *testing.T, command string, env ...string) curlAnswer {
	t.Helper()
	// What is asked of curl beyond the page's words goes into its configuration.
	home := t.TempDir()
	must(t, os.WriteFile(filepath.Join(home, ".curlrc"), []byte(
		`silent
show-error
write-out = "\n%{method}\t%{url_effective}\t%{http_code}\t%{content_type}"
`), 0o600))
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(append(os.Environ(), "HOME="+home, "CURL_HOME="+home, "no_proxy=*"), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s\n%v: %s", command, err, out)
	}
	end := strings.LastIndexByte(string(out), '\n')
	about := strings.Split(string(out[end+1:]), "\t")
	asked, err := url.Parse(about[1])
	must(t, err)
	status, err := strconv.Atoi(about[2])
	must(t, err)
	return curlAnswer{method: about[0], path: asked.Path, status: status, media: about[3], body: string(out[:end])}
}

// startProxyOnTCP starts a proxy whose admin endpoint is on TCP, and returns the
// address of that.
func startProxyOnTCP(t *testing.T) string {
	t.Helper()
	p := newProxy(t)
	port, err := rig.FreePort()
	must(t, err)
	admin := fmt.Sprintf("localhost:%d", port)
	cmd, err := p.Command(append(append([]string{"run"}, p.RunArgs()...), "--admin", admin)...)
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	waitFor(t, "the admin endpoint", func() bool {
		resp, err := http.Get("http://" + admin + "/parachute/services")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return admin
}
