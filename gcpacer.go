package parachute

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// gcHeadroom is the garbage, in bytes, that may gather before it is collected. By
// default Go lets as much gather as there is live memory, which in a proxy is
// little: it would collect dozens of times a second.
const gcHeadroom = 24 << 20

// Bounds of what GOGC is set to. Below the lower one, collecting would cost more
// than the memory is worth.
const (
	minGCPercent = 75
	maxGCPercent = 800
)

// paceGC keeps the garbage that gathers at gcHeadroom, whatever the size of the
// live memory, unless the operator has set GOGC. The memory limit, which Caddy takes
// from the cgroup, still applies.
func paceGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	adjustGC()
	watchGC()
}

// watchGC calls adjustGC after every collection.
func watchGC() {
	type sentinel struct{ _ [32]byte }
	runtime.AddCleanup(new(sentinel), func(struct{}) {
		adjustGC()
		watchGC()
	}, struct{}{})
}

func adjustGC() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	live, current := sample[0].Value.Uint64(), sample[1].Value.Uint64()
	percent := gcPercent(live)
	// Setting it stops the program for a moment.
	if diff := int(percent) - int(current); diff*10 > int(current) || -diff*10 > int(current) {
		debug.SetGCPercent(int(percent))
	}
}

// gcPercent returns the GOGC that leaves gcHeadroom with live bytes in use.
func gcPercent(live uint64) uint64 {
	return min(max(gcHeadroom*100/max(live, 1), minGCPercent), maxGCPercent)
}
