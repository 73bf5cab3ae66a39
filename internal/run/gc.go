package run

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// gcHeadroom is the garbage, in bytes, that may gather before it is collected, at most. By
// default Go lets as much gather as there is live memory, which in a proxy is
// little: it would collect dozens of times a second.
const gcHeadroom = 24 << 20

// Bounds of what GOGC is set to. Below the lower one, collecting would cost more
// than the memory is worth.
const (
	minGCPercent = 50
	maxGCPercent = 800
)

// returnInterval is the shortest time between two returns of memory, each of which
// costs a collection.
const returnInterval = 30 * time.Second

// lastReturn is when memory that a burst has left was returned to the system, which
// Go does by itself, but slowly. It belongs to adjustGC.
var lastReturn time.Time

const (
	// idleInterval is how long the proxy has had little to do when a collection costs
	// nobody anything.
	idleInterval = 10 * time.Second
	// idleAllocations is less than what the proxy allocates in that time when it has more
	// to do than to probe ten thousand services, in bytes.
	idleAllocations = 20 << 20
	// idleGarbage is what is worth one then, in bytes.
	idleGarbage = 4 << 20
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
	go collectWhenIdle()
}

// collectWhenIdle returns what the start or a burst has left to the system when it is over: without
// allocations there are no collections, and what is garbage would stay.
func collectWhenIdle() {
	sample := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	var allocated uint64
	var idle bool
	for range time.Tick(idleInterval) {
		metrics.Read(sample)
		before, wasIdle := allocated, idle
		allocated = sample[0].Value.Uint64()
		inUse := sample[1].Value.Uint64() + sample[2].Value.Uint64()
		idle = allocated-before < idleAllocations
		if idle && !wasIdle {
			_ = releaseProgram() // without it, there is less memory for others, and nothing else
		}
		if idle && inUse > sample[3].Value.Uint64()+idleGarbage {
			if !wasIdle {
				runtime.GC() // what the work has left in a sync.Pool outlives one collection
			}
			debug.FreeOSMemory()
		}
	}
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
	sample := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(sample)
	live, current, free := sample[0].Value.Uint64(), sample[1].Value.Uint64(), sample[2].Value.Uint64()
	if now := time.Now(); free > 2*gcHeadroom && now.Sub(lastReturn) > returnInterval {
		lastReturn = now
		go debug.FreeOSMemory()
	}
	percent := gcPercent(live)
	// Setting it stops the program for a moment.
	if diff := int(percent) - int(current); diff*10 > int(current) || -diff*10 > int(current) {
		debug.SetGCPercent(int(percent))
	}
}

// largeHeap is from when on less than gcHeadroom may gather, in bytes: thousands of services
// take memory, and have a request now and then.
const largeHeap = 16 << 20

// gcPercent returns the GOGC that leaves gcHeadroom with live bytes in use, or for a large heap
// as little as half of it.
func gcPercent(live uint64) uint64 {
	headroom := gcHeadroom - min((max(live, largeHeap)-largeHeap)/2, gcHeadroom/2)
	return min(max(headroom*100/max(live, 1), minGCPercent), maxGCPercent)
}
