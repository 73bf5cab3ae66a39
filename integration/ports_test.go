package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Where something forwards 80 and 443 to the ports of the proxy, clients are sent to the
// port that they reach, also for HTTP/3.
func TestPublicPortIsWhatClientsAreToldOf(t *testing.T) {
	for name, flags := range map[string][]string{"forwarded": nil, "public": {"--public-https-port", "9443"}} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, flags...)
			a := startApp(t, "a", nil)
			if r := run(t, p, "deploy", a.addr(), "--host", "app.localhost", "--tls=internal"); r.Code != 0 {
				t.Fatalf("deploy: %+v", r)
			}
			https := fmt.Sprintf(":%d", p.HTTPSPort)
			offered, wants := https, map[string]string{
				"":                             "",
				":80":                          "",
				fmt.Sprintf(":%d", p.HTTPPort): https,
				":9000":                        https,
			}
			if flags != nil {
				offered = ":9443"
				for port := range wants {
					wants[port] = ":9443"
				}
			}
			for port, want := range wants {
				req, err := http.NewRequest(http.MethodGet, p.URL()+"/x?y", nil)
				must(t, err)
				req.Host = "app.localhost" + port
				for range 2 { // the second takes the fast path
					resp, err := http.DefaultTransport.RoundTrip(req)
					must(t, err)
					resp.Body.Close()
					if got, want := resp.Header.Get("Location"), "https://app.localhost"+want+"/x?y"; got != want {
						t.Errorf("Host %s: %s to %q, want %q", req.Host, resp.Status, got, want)
					}
				}
			}
			roots := internalRoots(t, p)
			for _, protocol := range protocols {
				c := tlsClient(t, p, protocol, roots, "app.localhost")
				for range 2 {
					resp, _ := ask(t, c, "https://app.localhost/")
					got := strings.Join(resp.Header["Alt-Svc"], " | ")
					want := fmt.Sprintf(`h3="%s"; ma=2592000`, offered)
					if protocol == "HTTP/3.0" {
						want = ""
					}
					if got != want {
						t.Errorf("%s: Alt-Svc is %q, want %q", protocol, got, want)
					}
				}
			}
		})
	}
}
