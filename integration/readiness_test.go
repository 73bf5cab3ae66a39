package integration

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// BenchmarkReadinessToSwitch measures the time between the moment at which the
// sample application listens and the moment at which it takes the traffic. The
// application starts at a random moment of a deploy that is waiting for it.
//
//	go test -run '^$' -bench ReadinessToSwitch -benchtime 40x ./integration
func BenchmarkReadinessToSwitch(b *testing.B) {
	p := startProxy(b)
	seed := rand.Uint64()
	b.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	var took []time.Duration
	for b.Loop() {
		port, err := rig.FreePort()
		must(b, err)
		switched := make(chan error, 1)
		go func() {
			_, err := p.Deploy(context.Background(), api.DeployRequest{Targets: []string{"127.0.0.1:" + itoa(port)}})
			switched <- err
		}()
		time.Sleep(time.Duration(random.Int64N(int64(time.Second)))) // the random moment
		example, err := rig.StartExample("web", "1", "--addr", "127.0.0.1:"+itoa(port))
		must(b, err)
		ready := time.Now()
		must(b, <-switched)
		took = append(took, time.Since(ready))
		example.Stop()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(0, "ns/op") // the random wait is in it and says nothing
}
