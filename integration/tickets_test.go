package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// TestClientsResumeTheirSessions after a deploy, a reload and an upgrade: a full handshake costs the most
// of all that a client can ask for.
func TestClientsResumeTheirSessions(t *testing.T) {
	t.Parallel()
	p := startReloadable(t)
	a := startApp(t, "a", nil)
	target := deploySecured(t, p.Proxy, a)
	config := target.TLS.Clone()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	visit := func(when string, resumes bool) {
		t.Helper()
		client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: config.Clone(), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", target.Secure)
		}}}
		defer client.CloseIdleConnections()
		resp, err := client.Get("https://" + secureHost + "/")
		must(t, err)
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body) // the ticket comes with the answer
		must(t, err)
		if resp.TLS.DidResume != resumes {
			t.Errorf("%s, a client has resumed its session: %t, want %t", when, resp.TLS.DidResume, resumes)
		}
	}
	visit("at first", false)
	visit("then", true)
	deploy(t, p.Proxy, api.DeployRequest{Service: "secure", Targets: []string{startApp(t, "b", nil).addr()}})
	visit("after a deploy", true)
	must(t, p.try())
	visit("after a reload", true)
	for i := range 2 {
		upgrade(t, p.Proxy)
		visit(fmt.Sprintf("after upgrade %d", i+1), true)
	}
	must(t, p.try())
	visit("after a reload of the next process", true)
}
