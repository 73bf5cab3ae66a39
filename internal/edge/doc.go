// Package edge is a server for HTTP/1.1, over TCP and TLS, that calls the same handlers as the
// one of net/http, for less. It serves a request in the goroutine of its connection, reads heads
// with internal/http1, and holds buffers only while it serves something.
//
// What a handler sees is what net/http's server would show it, with these exceptions, each of
// which has a row in the test of differences:
//
//   - Requests that can be read in two ways are refused, whatever net/http makes of them.
//   - The context of a request ends when the client goes away, also when the client has sent
//     the next request. It is watched only if somebody waits for that.
//
// Connections that turn out to be for HTTP/2 are handed to another server, with all bytes that
// were read.
package edge
