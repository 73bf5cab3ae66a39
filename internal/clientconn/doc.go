// Package clientconn makes the connections of clients cheaper to serve than net/http and
// Caddy have them, and guards their requests: against clients that stall, that go away,
// and that still send when they have been answered.
//
// [Guards.Begin] is called once for a request and decides all of it. docs/ARCHITECTURE.md
// lists what the package relies on inside net/http and Caddy, and the tests that say so.
package clientconn
