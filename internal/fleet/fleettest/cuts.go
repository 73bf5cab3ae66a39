package fleettest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// busyApp is an app that never answers some requests.
type busyApp struct {
	target string
	begun  chan struct{}
}

func startBusyApp(t *testing.T) *busyApp {
	a := &busyApp{begun: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			a.begun <- struct{}{}
			<-r.Context().Done()
		}
	}))
	t.Cleanup(s.Close)
	a.target = strings.TrimPrefix(s.URL, "http://")
	return a
}

// occupy has a proxy send the app a request, and returns when that has it. What it returns has the client go away.
func (a *busyApp) occupy(t *testing.T, n *Node) (leave context.CancelFunc) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://web.test/busy", nil)
		_ = n.Engine.ServeHTTP(httptest.NewRecorder(), r, "", forward.Sender{})
	}()
	arrive(t, a.begun)
	return leave
}

// Cuts tests that an operation which is to fail if a request has to be cut does so for a request of another proxy than the one
// that was asked, names that proxy, and has waited for all of them.
func Cuts(t *testing.T, timing Timing, open func(*testing.T) func(*testing.T) fleet.Store) {
	soon, watch := api.Duration(200*time.Millisecond), api.Duration(100*time.Millisecond)
	deploy := func(how func(*api.DeployRequest)) func(*testing.T, *Node, string) error {
		return func(t *testing.T, n *Node, target string) error {
			req := api.DeployRequest{Service: "web", Targets: []string{target}, Hosts: []string{"web.test"}, DrainTimeout: &soon, FailOnCut: true}
			how(&req)
			_, err := n.deploy(t, req)
			return err
		}
	}
	plain := func(*api.DeployRequest) {}
	watched := func(req *api.DeployRequest) { req.Watch, req.OnInconclusive = &watch, api.InconclusivePromote }
	for name, c := range map[string]struct {
		first  func(*api.DeployRequest)
		change func(t *testing.T, n *Node, target string) error
	}{
		"Deploy": {plain, deploy(plain)},
		"Watch":  {plain, deploy(watched)},
		"Canary": {plain, deploy(func(req *api.DeployRequest) {
			req.Steps, req.OnInconclusive = []string{"50%/100ms"}, api.InconclusivePromote
		})},
		"Remove": {plain, func(_ *testing.T, n *Node, _ string) error {
			_, err := n.Engine.Remove("web", api.RemoveRequest{FailOnCut: true})
			return err
		}},
		"Rollback": {func(req *api.DeployRequest) { req.Keep = true }, func(t *testing.T, n *Node, _ string) error {
			d, err := n.Engine.Rollback(t.Context(), "web", api.RollbackRequest{FailOnCut: true})
			if err == nil {
				_, err = d.Wait(t.Context())
			}
			return err
		}},
	} {
		for where, by := range map[string][]int{"There": {1}, "HereAndThere": {0, 2}} {
			t.Run(name+where, func(t *testing.T) {
				t.Parallel()
				nodes := StartAll(t, 3, timing, open(t))
				busy := startBusyApp(t)
				req := api.DeployRequest{Service: "web", Targets: []string{App(t)}, Hosts: []string{"web.test"}, DrainTimeout: &soon}
				if _, err := nodes[0].deploy(t, req); err != nil {
					t.Fatal(err)
				}
				req = api.DeployRequest{Service: "web", Targets: []string{busy.target}, Hosts: []string{"web.test"}, DrainTimeout: &soon}
				c.first(&req)
				if _, err := nodes[0].deploy(t, req); err != nil {
					t.Fatal(err)
				}
				for _, i := range by {
					busy.occupy(t, nodes[i])
				}
				err := c.change(t, nodes[0], App(t))
				if api.ErrorCode(err) != api.CodeDrainTimeout {
					t.Fatal(err)
				}
				for i, n := range nodes {
					isNamed := strings.Contains(err.Error(), n.Name+": 1 request was cut")
					if i > 0 && isNamed != slices.Contains(by, i) {
						t.Errorf("%s: %v", n.Name, err)
					}
				}
				if !strings.Contains(err.Error(), "web v2 did not drain in time: 1 request was cut") {
					t.Error(err)
				}
			})
		}
	}
}
