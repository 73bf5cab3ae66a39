// Package transport carries HTTP/1.1 requests to one address, as a proxy does it:
// in the goroutine of the request.
//
// [net/http.Transport] gives every connection two goroutines, and a request
// changes hands four times on its way through them. [Transport] takes a pooled
// connection, writes the request and reads the answer where it was called. Only a
// request body of which a part is still to come gets a goroutine of its own,
// since the answer may begin before the body has ended.
//
// # Invariants
//
//  1. A connection carries one exchange at a time and goes back to the pool only
//     when everything about it is certain: the request has been written to its
//     end, the answer has been read to its end, the target has not asked to close,
//     and not one byte is left over. Otherwise it is closed. So what a target
//     sends too much, too early or too late reaches nobody.
//  2. A pooled connection on which anything has arrived, be it a byte or an end,
//     is not used: it is looked at in the instant before the request is written.
//  3. An answer has one meaning or is refused ([ErrMalformed]): two lengths, a coding
//     other than chunked, control characters and the like are errors and never guessed
//     at. What has one meaning though it is not as it should be is passed on clean: the
//     same length twice, a length beside chunks, folded lines, white space before a colon,
//     and lines of the head that end in a line feed alone.
//  4. A request is tried on another connection only if none of it was written, or
//     if the method is idempotent, nothing of the answer had arrived, and the
//     connection was a pooled one.
//  5. A request that had to wait for its body is not written if its context has
//     ended meanwhile.
package transport
