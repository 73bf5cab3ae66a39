package clients

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// A service that believes every sender gets what senders say of their clients; any other does not.
func TestForwardedFieldsArriveWhereTheyAreBelieved(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startRawApp(t, serveRaw(func(r *rawRequest) string {
			return ok(strings.Join([]string{strings.Join(r.header("X-Forwarded-For"), "|"), strings.Join(r.header("X-Forwarded-Host"), "|"), strings.Join(r.header("Cf-Connecting-Ip"), "|")}, " "))
		}))
		x := newSite(t, plain.Get(t), a.addr)
		send := []field{{"X-Forwarded-For", "192.0.2.1"}, {"X-Forwarded-Host", "made.up"}, {"CF-Connecting-IP", "2001:db8::1"}}
		for _, tt := range []struct {
			req  api.DeployRequest
			want string
		}{
			{api.DeployRequest{}, "127.0.0.1 " + x.host + " 2001:db8::1"},
			{api.DeployRequest{ForwardHeaders: true}, "192.0.2.1, 127.0.0.1 made.up 2001:db8::1"},
			{api.DeployRequest{ClientIPHeader: "CF-Connecting-IP"}, "127.0.0.1 " + x.host + " "},
			{api.DeployRequest{ForwardHeaders: true, ClientIPHeader: "CF-Connecting-IP"}, "2001:db8::1, 127.0.0.1 made.up 2001:db8::1"},
		} {
			tt.req.Targets, tt.req.Reset = []string{a.addr}, true
			x.deploy(t, tt.req)
			if got := x.askWire(t, protocol, "GET", "/", "", send...); got.body != tt.want {
				t.Errorf("%t %q: %s, want %q", tt.req.ForwardHeaders, tt.req.ClientIPHeader, got, tt.want)
			}
		}
	})
}
