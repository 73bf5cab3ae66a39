// The benchmark is a module of its own because nobody who uses the plugin needs what
// it needs.
module github.com/parachute-proxy/parachute/bench

go 1.26.0

require (
	github.com/parachute-proxy/parachute v0.0.0
	golang.org/x/net v0.60.0
	golang.org/x/sys v0.48.0
)

require (
	github.com/quic-go/qpack v0.6.0 // indirect
	github.com/quic-go/quic-go v0.63.0 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace github.com/parachute-proxy/parachute => ..
