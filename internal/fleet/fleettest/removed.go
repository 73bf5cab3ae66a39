package fleettest

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// RemovedMeanwhile tests that a rollback does not bring back a service that another proxy has removed since it began.
func RemovedMeanwhile(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 2, timing, open)
	for range 2 {
		if _, err := nodes[0].Deploy(t, "web", App(t)); err != nil {
			t.Fatal(err)
		}
	}
	nodes[0].disk.mu.Lock()
	nodes[0].disk.read = func() {
		if _, err := nodes[1].Engine.Remove("web", api.RemoveRequest{}); err != nil {
			t.Error(err)
		}
	}
	nodes[0].disk.mu.Unlock()
	d, err := nodes[0].Engine.Rollback(t.Context(), "web", api.RollbackRequest{})
	if err == nil {
		_, err = d.Wait(t.Context())
	}
	if api.ErrorCode(err) != api.CodeSuperseded || !strings.Contains(err.Error(), "web was removed meanwhile") {
		t.Errorf("%v", err)
	}
	Converged(t, nodes, "web", "")
}
