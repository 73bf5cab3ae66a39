package main

import (
	"fmt"

	"github.com/parachute-proxy/parachute/bench/internal/load"
	"github.com/parachute-proxy/parachute/bench/internal/peer"
	"github.com/parachute-proxy/parachute/bench/internal/upstream"
)

// Requests that scenarios make.
var (
	small  = load.Request{Path: upstream.Small, Host: peer.Host, WantLength: upstream.SmallSize}
	medium = load.Request{Path: upstream.Medium, Host: peer.Host, WantLength: upstream.MediumSize}
	large  = load.Request{Path: upstream.Large, Host: peer.Host, WantLength: upstream.LargeSize}
	upload = load.Request{
		Method: "POST", Path: upstream.Upload, Host: peer.Host, Body: upstream.LargeSize,
		WantLength: int64(len(fmt.Sprint(upstream.LargeSize))), // the answer is the number of bytes
	}
	closing = load.Request{Path: upstream.Small, Host: peer.Host, WantLength: upstream.SmallSize, Close: true}
)

// encodeAndHeaders are what nearly every site has. The load accepts no compressed answers: what
// compressing costs is the same everywhere.
const encodeAndHeaders = `encode zstd gzip
header X-Frame-Options DENY
header Strict-Transport-Security max-age=31536000
header X-Content-Type-Options nosniff
`

// scenarios are all that there are, in the order in which they run.
var scenarios = []*Scenario{
	{Name: "get/1", Title: "small GET, 1 connection", Measure: closedLoop(1, small), Floored: true},
	{Name: "get/64", Title: "small GET, 64 connections", Measure: closedLoop(64, small), PartOfQuick: true, Floored: true},
	{Name: "get/512", Title: "small GET, 512 connections", Measure: closedLoop(512, small), Floored: true},
	{Name: "get/new", Title: "small GET, a new connection each, 64 at a time", Measure: closedLoop(64, closing), PartOfQuick: true, Floored: true},
	{Name: "response/10k", Title: "10 KiB response, 64 connections", Measure: closedLoop(64, medium)},
	{Name: "response/1m", Title: "1 MiB response, 8 connections", Measure: closedLoop(8, large), PartOfQuick: true},
	{Name: "upload/1m", Title: "1 MiB upload, 8 connections", Measure: closedLoop(8, upload), PartOfQuick: true},
	{Name: "tls/h1", Title: "small GET over TLS, 64 connections", Measure: closedLoopTLS(64, small), TLS: true, Floored: true},
	{Name: "tls/new", Title: "small GET over TLS, a new connection and a whole handshake each, 16 at a time", Measure: closedLoopTLS(16, closing), TLS: true, Floored: true},
	{Name: "tls/h2", Title: "small GET over HTTP/2, 8 connections with 8 streams", Measure: streams(8, 8, small), TLS: true, PartOfQuick: true, Floored: true},
	{Name: "log/64", Title: "small GET, 64 connections, access log", Measure: logged(closedLoop(64, small)), AccessLog: true, PartOfQuick: true},
	{Name: "handlers/64", Title: "small GET, 64 connections, encode and three headers", Measure: closedLoop(64, small), Directives: encodeAndHeaders, PartOfQuick: true},
	{Name: "handlers/10k", Title: "10 KiB response, 64 connections, encode and three headers", Measure: closedLoop(64, medium), Directives: encodeAndHeaders},
	latencyAtHalfLoad(64, small),
	idleWebSockets(2000),
	idlePlain(2000),
	idleTLS(2000),
	memoryAtRest,
	deployUnderLoad(64, small),
	manyServices(1),
	manyServices(10),
	manyServices(100),
	manyServices(10_000),
}

func init() {
	for _, s := range scenarios {
		if s.Metrics == nil { // as most of them have
			s.Metrics = []Metric{cpuPerRequest, throughput}
		}
	}
}
