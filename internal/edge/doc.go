// Package edge is a server for HTTP/1.1, over TCP and TLS, that calls the same handlers as the
// one of net/http, for less. It serves a request in the goroutine of its connection, reads heads
// with internal/http1, and holds buffers only while it serves something.
//
// What a handler sees is what net/http's server would show it, with these exceptions:
//
//   - Requests that can be read in two ways are refused, whatever net/http makes of them. The test
//     TestEdgeIsStricter has the list.
//   - The context of a request watches the client only from when somebody waits for its end.
//   - A Content-Length of the handler's that is no number is left out, and not sent.
//   - If a body is malformed or breaks off, the answer says that the connection ends.
//
// A handler that is a passthrough.Handler is offered small requests first, of which no http.Request is made.
//
// Connections that turn out to be for HTTP/2 are handed to another server, with all bytes that
// were read.
package edge
