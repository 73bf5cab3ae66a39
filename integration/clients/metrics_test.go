package clients

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Trap 58: a reload brings new servers and a new registry; what has been counted
// stays counted, and what is open stays open.
func TestMetricsKeepCountingOverAReload(t *testing.T) {
	t.Parallel()
	port, err := rig.FreePort()
	must(t, err)
	s := startServer(t, nil, "--metrics-port", fmt.Sprint(port))
	x := newSite(t, s, startApp(t, named("a")).addr())
	clients := make(map[string]*client)
	for _, protocol := range protocols {
		clients[protocol] = x.client(t, protocol)
	}
	echoing := newSite(t, s, startEcho(t, "echo").addr())
	ws, err := echoing.client(t, h1).dialWebSocket(t, "/ws")
	must(t, err)

	const each = 5
	total := 0
	for round := range 4 {
		for _, protocol := range protocols {
			for range each {
				waitFor(t, "an answer over "+protocol, func() bool {
					// Over HTTP/1.1, a reload may close the connection under a request.
					a, err := clients[protocol].ask(clients[protocol].request(t, http.MethodGet, "/", nil))
					return err == nil && a.StatusCode == http.StatusOK
				})
			}
			total += each
		}
		for series, want := range map[string]string{
			fmt.Sprintf(`parachute_requests_total{code="2xx",method="GET",service=%q}`, x.host):       fmt.Sprint(total),
			fmt.Sprintf(`parachute_requests_total{code="1xx",method="GET",service=%q}`, echoing.host): "1",
			fmt.Sprintf("parachute_streams_open{service=%q}", echoing.host):                           "1",
			fmt.Sprintf("parachute_requests_in_flight{service=%q}", x.host):                           "0",
			`parachute_deployments_total{state="done"}`:                                               fmt.Sprint(round + 2),
			fmt.Sprintf("parachute_requests_held{service=%q}", "no-such-series"):                      "",
		} {
			// A client may have its answer before the request is over.
			waitFor(t, fmt.Sprintf("%s to be %q in round %d", series, want, round), func() bool { return scrape(t, port)[series] == want })
		}
		if _, err := echo(ws, "still there"); err != nil {
			t.Errorf("in round %d, the WebSocket: %v", round, err)
		}
		x.deployTo(t, startApp(t, named("next")).addr())
		s.reload(t)
	}
}

// scrape returns every series with its value.
func scrape(t *testing.T, port int) map[string]string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	var resp *http.Response
	waitFor(t, "the metrics", func() (ok bool) {
		var err error
		resp, err = client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		return err == nil
	})
	defer resp.Body.Close()
	series := make(map[string]string)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			series[name] = value
		}
	}
	return series
}
