package http1

import "errors"

// ErrIncomplete means that what there is of a head or of a chunked body is right so far, and that more of it
// has to come.
var ErrIncomplete = errors.New("the request is not complete")

// Error means that a request is refused. The connection has to end, because it is not known where the next
// request begins.
type Error struct {
	// Status is that of the answer. This package has 400, 501 for a transfer coding that is not known, and 505.
	Status int
	// Reason tells what is wrong, for a log. It has nothing of the request in it.
	Reason string
}

// Error implements [error].
func (e *Error) Error() string { return e.Reason }

func bad(reason string) *Error { return &Error{400, reason} }

// What is refused, with the sections of RFC 9112 unless it says otherwise.
var (
	errBareLF       = bad("a line ends without a carriage return")                // 2.2
	errBareCR       = bad("a carriage return is not at the end of a line")        // 2.2
	errControl      = bad("there is a control character in a field value")        // RFC 9110, 5.5
	errRequestLine  = bad("the request line is malformed")                        // 3
	errMethod       = bad("the method is not a token")                            // 3.1
	errTarget       = bad("the request target is malformed")                      // 3.2
	errVersion      = bad("the version of HTTP is malformed")                     // 2.3
	errOtherVersion = &Error{505, "the version of HTTP is not 1.0 or 1.1"}        // RFC 9110, 15.6.6
	errFolded       = bad("a field line is folded, or begins with white space")   // 5.2, 2.2
	errName         = bad("the name of a field is not a token")                   // 5.1
	errSpace        = bad("there is white space between a field name and colon")  // 5.1
	errHost         = bad("the Host field is malformed")                          // 3.2
	errNoHost       = bad("there is no Host field")                               // 3.2
	errHosts        = bad("there is more than one Host field")                    // 3.2
	errLength       = bad("the Content-Length is malformed")                      // 6.3
	errLengths      = bad("there is more than one Content-Length")                // 6.3
	errBoth         = bad("there are both Content-Length and Transfer-Encoding")  // 6.1, 6.3
	errCoding       = bad("the Transfer-Encoding is malformed")                   // 6.1
	errCodings      = bad("chunked is not the last transfer coding, or not once") // 6.1, 6.3
	errOldCoding    = bad("there is a Transfer-Encoding in HTTP/1.0")             // 6.1
	errOtherCoding  = &Error{501, "the transfer coding is not known"}             // 6.1
	errChunkSize    = bad("the size of a chunk is malformed")                     // 7.1
	errChunkLine    = bad("the line with the size of a chunk is too long")        // 7.1.1
	errChunkEnd     = bad("no end of line is behind the content of a chunk")      // 7.1
	errExtension    = bad("an extension of a chunk is malformed")                 // 7.1.1
	errExtensions   = bad("the extensions of the chunks are too long")            // 7.1.1
	errTrailers     = bad("the trailers are too long")                            // 7.1.2
	errTrailer      = bad("a field is among the trailers that must not be there") // RFC 9110, 6.5.1
)
