package fleettest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// Refusals tests that a proxy which refuses a release, at whatever step of getting ready, is named, and that
// nothing changes anywhere.
func Refusals(t *testing.T, open func(t *testing.T) func(*testing.T) fleet.Store) {
	refusal := &api.Error{Code: api.CodeInvalid, Message: "not here"}
	for _, row := range []struct {
		name   string
		refuse func(t *testing.T, n *Node)
		code   api.Code
		text   string
	}{
		{"it is stopping", func(t *testing.T, n *Node) { n.Engine.Shutdown(t.Context()) }, api.CodeStopping, "the proxy is stopping"},
		{"its config does not allow it", func(_ *testing.T, n *Node) { n.refuses.Store(refusal) }, api.CodeInvalid, "not here"},
		{"it can get no certificates of the kind", func(_ *testing.T, n *Node) { n.certificates.set(refusal, nil) }, api.CodeInvalid, "not here"},
		{"it gets no certificate", func(_ *testing.T, n *Node) { n.certificates.set(nil, refusal) }, api.CodeInvalid, "not here"},
	} {
		t.Run(row.name, func(t *testing.T) {
			nodes := StartAll(t, 3, faulty, open(t))
			app := App(t)
			if _, err := nodes[1].deploySecure(t, app, "web.test"); err != nil {
				t.Fatal(err)
			}
			row.refuse(t, nodes[2])
			_, err := nodes[0].deploySecure(t, App(t), "web.test", "new.test")
			if api.ErrorCode(err) != row.code || !strings.Contains(err.Error(), "1 of 3 proxies cannot serve it: proxy-3 says: ") || !strings.Contains(err.Error(), row.text) {
				t.Errorf("it is answered %v", err)
			}
			outcome{"v1 " + app + " false", "web.test", 1}.await(t, nodes)
			if row.code == api.CodeStopping {
				return // it refuses what comes next as well
			}
			nodes[2].refuses.Store(nil)
			nodes[2].certificates.set(nil, nil)
			if _, err := nodes[1].DeployHost(t, "other", app, "new.test"); err != nil {
				t.Errorf("the host that nobody has got is taken: %v", err)
			}
		})
	}
	t.Run("its target is unhealthy from its place", func(t *testing.T) {
		nodes := StartAll(t, 3, faulty, open(t))
		app := App(t)
		if _, err := nodes[1].deploySecure(t, app, "web.test"); err != nil {
			t.Fatal(err)
		}
		var isUnwell atomic.Bool
		next := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if isUnwell.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(next.Close)
		nodes[0].Link.Before(CallPropose, func() error { isUnwell.Store(true); return nil })
		_, err := nodes[0].deploy(t, api.DeployRequest{
			Service: "web", Targets: []string{next.Listener.Addr().String()}, Hosts: []string{"web.test", "new.test"}, TLS: &api.TLSRequest{}, DeployTimeout: new(api.Duration(time.Second)),
		})
		if api.ErrorCode(err) != api.CodeNotHealthy || !strings.Contains(err.Error(), "proxies cannot serve it: proxy-") || !strings.Contains(err.Error(), "nothing has changed") {
			t.Errorf("it is answered %v", err)
		}
		outcome{"v1 " + app + " false", "web.test", 1}.await(t, nodes)
	})
	t.Run("another service has got its host meanwhile", func(t *testing.T) {
		nodes := StartAll(t, 3, faulty, open(t))
		app := App(t)
		if _, err := nodes[1].deploySecure(t, app, "web.test"); err != nil {
			t.Fatal(err)
		}
		var other sync.WaitGroup
		nodes[0].Link.Before(CallDecide, func() error {
			other.Go(func() {
				if _, err := nodes[2].DeployHost(t, "other", app, "new.test"); err != nil {
					t.Error(err)
				}
			})
			Await(t, "the other service has the host", func() bool { return nodes[1].Serves("other") != "" })
			return nil
		})
		_, err := nodes[0].deploySecure(t, App(t), "web.test", "new.test")
		if api.ErrorCode(err) != api.CodeRouteConflict || !strings.Contains(err.Error(), "belongs to the service other; nothing has changed") {
			t.Errorf("it is answered %v", err)
		}
		other.Wait()
		outcome{"v1 " + app + " false", "web.test", 1}.await(t, nodes)
	})
}
