// Package front keeps the sockets and the connections of clients in the hands of the
// process, so that a reload, which replaces everything else, touches none of them.
//
// A socket ([Listen]) is opened once, however many configs listen on it. Each config has a
// head of it, and the newest config that accepts gets the connections. If a config fails, its
// heads close, and the one before goes on.
//
// A front has all connections of an address in an [http.Server] of its own, and hands each
// request to the newest config that has started, whichever config accepted the connection.
// Caddy's own server has no connections, so its Shutdown, which a reload calls, ends none.
// [Wrapper] is what stands between the two.
//
// HTTP/3 is served in the same way (quic.go, udp.go): the UDP socket and its connections belong to
// the process. Package packets says how several processes share it during an upgrade.
//
// When an address is no longer wanted, or the process ends, a front is polite before it
// shuts down: clients are told to come by another connection (server.go, goaway.go).
//
// The package knows nothing of services. docs/ARCHITECTURE.md lists what it relies on inside
// Caddy, net/http and x/net, and the tests that say so.
package front
