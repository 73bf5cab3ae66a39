package integration

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// A process that is stopped (or starved, or out of memory) keeps its socket, and the kernel
// accepts connections for it: nothing but silence tells.
func TestFrozenOnlyTargetIsSeenAndStillTried(t *testing.T) {
	p := startProxy(t)
	example := startExample(t, "web")
	deploy(t, p, api.DeployRequest{
		Service: "web", Targets: []string{example.Addr}, TargetTimeout: duration(100 * time.Millisecond),
		HealthCheckInterval: duration(200 * time.Millisecond), HealthCheckTimeout: duration(200 * time.Millisecond),
	})
	seen := func(health api.Health) func() bool {
		return func() bool {
			metric := `parachute_targets{health="` + string(health) + `",service="web"} 1`
			return serviceOf(t, p, "web").Active.Targets[0].Health == health && strings.Contains(ourMetrics(t, p).text, metric)
		}
	}
	waitFor(t, "the target to be healthy", seen(api.HealthHealthy))
	must(t, example.Signal(syscall.SIGSTOP))
	defer func() { _ = example.Signal(syscall.SIGCONT) }()
	if resp, _ := get(t, p, "", "/"); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("a frozen target: %s", resp.Status)
	}
	waitFor(t, "the target to be shown as failing", seen(api.HealthFailing))
	if resp, _ := get(t, p, "", "/"); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("a target that is failing: %s", resp.Status)
	}
	must(t, example.Signal(syscall.SIGCONT))
	waitFor(t, "the target to be healthy again", seen(api.HealthHealthy))
	if resp, _ := get(t, p, "", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("a target that is back: %s", resp.Status)
	}
}
