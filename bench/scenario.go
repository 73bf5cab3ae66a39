package main

import (
	"context"
	"fmt"

	"github.com/parachute-proxy/parachute/bench/internal/peer"
)

// Scenario is something that is measured for every proxy.
type Scenario struct {
	Name    string   // what -run matches
	Title   string   // what tables say
	Metrics []Metric // what it measures

	TLS        bool // proxies serve HTTPS, too
	AccessLog  bool // proxies log every request
	DeployOnly bool // only proxies that can be deployed to take part
	// Directives of a Caddyfile that requests pass: only parachute and Caddy take part.
	Directives string
	// Floored says that all requests are those that the floor can answer.
	Floored     bool
	PartOfQuick bool // runs with -quick
	Isolation   Isolation

	// Prepare, if set, is called once the proxies run, and returns what there is to
	// say about it, if anything. It can return errTooSlow.
	Prepare func(ctx context.Context, e *Environment, proxies []*peer.Proxy) (note string, err error)
	Measure measure
}

// measure takes one sample of a proxy.
type measure = func(ctx context.Context, e *Environment, p *peer.Proxy) (Sample, error)

// Isolation says which proxies run at the same time, and for how long.
type Isolation int

const (
	// SideBySide runs all proxies through all rounds, one of them busy at a time.
	SideBySide Isolation = iota
	// Alone runs one proxy after the other, each through all rounds. It is for
	// proxies that have work to do even when they get no requests.
	Alone
	// Fresh is Alone with a new process for every sample. It is for what a process
	// remembers: memory.
	Fresh
)

// Table is what a metric is shown in, together with others like it.
type Table struct {
	Title string
	Unit  string
	// MoreIsBetter, otherwise less is.
	MoreIsBetter bool
	// Digits behind the point.
	Digits int
}

// Tables, in the order of the report.
var (
	cpuTable        = &Table{Title: "CPU time per request", Unit: "µs", Digits: 1}
	throughputTable = &Table{Title: "Throughput on one core", Unit: "requests/s", MoreIsBetter: true}
	latencyTable    = &Table{Title: "Latency", Unit: "µs"}
	webSocketTable  = &Table{Title: "Memory per idle WebSocket", Unit: "KiB", Digits: 1}
	idleTable       = &Table{Title: "Memory per idle connection", Unit: "KiB", Digits: 1}
	memoryTable     = &Table{Title: "Memory of the processes", Unit: "MiB", Digits: 1}
	restTable       = &Table{Title: "CPU without any requests", Unit: "% of a core", Digits: 2}
	deployTable     = &Table{Title: "Time of a deploy", Unit: "ms", Digits: 1}
	listTable       = &Table{Title: "Time of a list of all services", Unit: "ms", Digits: 1}

	tables = []*Table{
		cpuTable, throughputTable, latencyTable, webSocketTable, idleTable, memoryTable, restTable, deployTable, listTable,
	}
)

// Metric is one figure of a scenario.
type Metric struct {
	Key   string // in Sample.Values, and in JSON
	Table *Table
	Row   string // added to the scenario's title, for one that has several rows in a table
}

// Metrics.
var (
	cpuPerRequest   = Metric{Key: "cpu_us_per_request", Table: cpuTable}
	throughput      = Metric{Key: "requests_per_second", Table: throughputTable}
	p50             = Metric{Key: "p50_us", Table: latencyTable, Row: "median"}
	p99             = Metric{Key: "p99_us", Table: latencyTable, Row: "99th percentile"}
	webSocketMemory = Metric{Key: "kib_per_websocket", Table: webSocketTable}
	idleMemory      = Metric{Key: "kib_per_connection", Table: idleTable}
	memory          = Metric{Key: "memory_mib", Table: memoryTable}
	cpuAtRest       = Metric{Key: "rest_percent", Table: restTable}
	deployTime      = Metric{Key: "deploy_ms", Table: deployTable}
	deployTimeFew   = Metric{Key: "deploy_few_ms", Table: deployTable, Row: fmt.Sprintf("by turns, another process with %d", fewServices)}
	listTime        = Metric{Key: "list_ms", Table: listTable}
)

// Sample is what one measurement of one proxy has found.
type Sample struct {
	Values   map[string]float64 `json:"values"` // by Metric.Key
	Requests int64              `json:"requests,omitempty"`
	Errors   int64              `json:"errors,omitempty"`
	// Error is one of the errors.
	Error string `json:"error,omitempty"`
	// Others is the share of all cores in percent that programs used which have
	// nothing to do with the benchmark.
	Others float64 `json:"others_percent,omitempty"`
}
