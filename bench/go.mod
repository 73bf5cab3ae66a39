// The benchmark is a module of its own because nobody who uses the plugin needs what
// it needs.
module github.com/parachute-proxy/parachute/bench

go 1.26.0

require (
	github.com/parachute-proxy/parachute v0.0.0
	golang.org/x/sys v0.48.0
)

require (
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace github.com/parachute-proxy/parachute => ..
