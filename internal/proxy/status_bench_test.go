package proxy

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// BenchmarkList is what `parachute list` asks of the proxy with 10,000 services.
func BenchmarkList(b *testing.B) {
	e := newTestEngine(b)
	const n = 10_000
	for i := range n {
		req := api.DeployRequest{Service: fmt.Sprint("app-", i), Hosts: []string{fmt.Sprintf("app-%d.example.com", i)}, Targets: []string{"127.0.0.1:1"}, Force: true}
		e.deploy(req)
	}
	for b.Loop() {
		if _, err := json.Marshal(e.Services()); err != nil {
			b.Fatal(err)
		}
	}
}
