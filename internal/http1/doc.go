// Package http1 reads the heads of requests of HTTP/1.1 and chunked bodies as RFC 9112 has them, and
// nothing else. What could be read in two ways is refused: a proxy that guesses lets a client hide a
// request from it in the body of another one (request smuggling). Names keep their spelling, and fields
// their order. Of responses, it reads those heads that can be passed on as they were sent.
//
// The package makes no input or output. It allocates only room for fields and trailers, which is used
// again. Its fuzz tests hold it against net/http.
package http1
