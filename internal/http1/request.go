package http1

import "bytes"

// Field is a field line of a head, as it was sent. Value has no white space around it. Both point into
// the bytes that were parsed.
type Field struct{ Name, Value []byte }

// Request is the head of a request. Its slices point into the bytes that were parsed. A Request can be
// used again: Parse keeps the room of Fields.
type Request struct {
	// Method and Target are as they were sent.
	Method, Target []byte
	// Minor is 1 for HTTP/1.1, and 0 for HTTP/1.0.
	Minor int
	// Fields are in the order in which they were sent.
	Fields []Field
	// Host is the value of the Host field; nil if there is none, which HTTP/1.0 allows.
	Host []byte
	// ContentLength is -1 if there is none.
	ContentLength int64
	// Chunked says that the content is chunked.
	Chunked bool
	// Close says that the client wants no more of the connection: Connection has close, or it is HTTP/1.0
	// without keep-alive (RFC 9112, section 9.3).
	Close bool

	keepAlive, hasCoding, otherCoding bool
}

// Parse reads a head from the beginning of b and returns its size. One empty line before it is skipped
// and counted (RFC 9112, section 2.2). The error is ErrIncomplete if b has only a beginning of a head, and
// otherwise an [*Error], which is found as soon as its line is there.
//
// Parse begins at the beginning each time. The caller bounds the size of b, and with that the work.
func (r *Request) Parse(b []byte) (size int, err error) {
	*r = Request{Fields: r.Fields[:0], ContentLength: -1}
	i := 0
	if len(b) > 0 && b[0] == '\r' {
		if len(b) == 1 {
			return 0, ErrIncomplete
		}
		if b[1] != '\n' {
			return 0, errBareCR
		}
		i = 2
	}
	if i, err = r.requestLine(b, i); err != nil {
		return 0, err
	}
	for {
		if i == len(b) {
			return 0, ErrIncomplete
		}
		if b[i] == '\r' {
			if i, err = endOfLine(b, i); err != nil {
				return 0, err
			}
			return i, r.finish()
		}
		if i, err = r.field(b, i); err != nil {
			return 0, err
		}
	}
}

// requestLine reads the request line at i, and returns where the next line begins.
func (r *Request) requestLine(b []byte, i int) (int, error) {
	var err error
	if r.Method, i, err = word(b, i, tokenByte, errMethod); err != nil {
		return 0, err
	}
	if r.Target, i, err = word(b, i, targetByte, errTarget); err != nil {
		return 0, err
	}
	const version = "HTTP/1.1"
	for j := range min(len(version), len(b)-i) {
		c := b[i+j]
		if isDigit := c >= '0' && c <= '9'; version[j] == '1' && !isDigit || version[j] != '1' && c != version[j] {
			return 0, errVersion
		}
	}
	if len(b) < i+len(version) {
		return 0, ErrIncomplete
	}
	major, minor := b[i+len(version)-3], b[i+len(version)-1]
	i += len(version)
	if i < len(b) && b[i] != '\r' && b[i] != '\n' {
		return 0, errRequestLine
	}
	if major != '1' || minor > '1' {
		return 0, errOtherVersion
	}
	r.Minor = int(minor - '0')
	if i, err = endOfLine(b, i); err != nil {
		return 0, err
	}
	return i, r.checkTarget()
}

// word reads bytes of a class at i, which a space ends, and returns where the next word begins. The error is
// malformed if there are none, or another byte ends them.
func word(b []byte, i int, class byte, malformed *Error) (found []byte, next int, err error) {
	end := skip(b, i, class)
	switch {
	case end == len(b):
		return nil, 0, ErrIncomplete
	case b[end] != ' ' || end == i:
		return nil, 0, malformed
	}
	return b[i:end], end + 1, nil
}

// checkTarget holds the target against the forms that there are (RFC 9112, section 3.2). Whether a method
// allows the form is checked by whoever serves the request.
func (r *Request) checkTarget() error {
	t := r.Target
	if string(r.Method) == "CONNECT" { // the authority form, and only that; there is no default port
		if a, ok := parseAuthority(t); !ok || len(a.host) == 0 || len(a.port) == 0 {
			return errTarget
		}
		return nil
	}
	if t[0] == '/' || len(t) == 1 && t[0] == '*' && string(r.Method) == "OPTIONS" {
		return nil
	}
	for _, scheme := range []string{"http://", "https://"} {
		if len(t) > len(scheme) && equalFold(t[:len(scheme)], scheme) {
			rest := t[len(scheme):]
			if end := bytes.IndexAny(rest, "/?"); end >= 0 {
				rest = rest[:end]
			}
			if a, ok := parseAuthority(rest); ok && len(a.host) > 0 { // RFC 9110, section 4.2.1
				return nil
			}
		}
	}
	return errTarget
}

// endOfLine expects the end of a line at i, and returns where the next one begins.
func endOfLine(b []byte, i int) (int, error) {
	switch {
	case i == len(b):
		return 0, ErrIncomplete
	case b[i] == '\n':
		return 0, errBareLF
	case i+1 == len(b):
		return 0, ErrIncomplete
	case b[i+1] != '\n':
		return 0, errBareCR
	}
	return i + 2, nil
}

// field reads the field line at i, and returns where the next line begins.
func (r *Request) field(b []byte, i int) (int, error) {
	f, i, err := fieldLine(b, i)
	if err != nil {
		return 0, err
	}
	r.Fields = append(r.Fields, f)
	return i, r.note(f.Name, f.Value)
}

// fieldLine reads the field line at i, and returns where the next line begins.
func fieldLine(b []byte, i int) (Field, int, error) {
	start := i
	i = skip(b, i, tokenByte)
	if i == len(b) {
		return Field{}, 0, ErrIncomplete
	}
	name := b[start:i]
	if b[i] != ':' {
		switch {
		case b[i] == '\n':
			return Field{}, 0, errBareLF
		case b[i] == ' ' || b[i] == '\t':
			if len(name) == 0 {
				return Field{}, 0, errFolded
			}
			return Field{}, 0, errSpace
		}
		return Field{}, 0, errName
	}
	if len(name) == 0 {
		return Field{}, 0, errName
	}
	i++
	start = i
	i = skip(b, i, valueByte)
	if i < len(b) && b[i] != '\r' && b[i] != '\n' {
		return Field{}, 0, errControl
	}
	value := b[start:i]
	i, err := endOfLine(b, i)
	if err != nil {
		return Field{}, 0, err
	}
	return Field{name, trim(value)}, i, nil
}

// note keeps what a field says about the message itself.
func (r *Request) note(name, value []byte) error {
	switch len(name) {
	case len("host"):
		if equalFold(name, "host") {
			return r.host(value)
		}
	case len("connection"):
		if equalFold(name, "connection") {
			r.connection(value)
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			return r.length(value)
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			return r.coding(value)
		}
	}
	return nil
}

func (r *Request) host(value []byte) error {
	if r.Host != nil {
		return errHosts
	}
	if a, ok := parseAuthority(value); !ok || len(a.host) == 0 && a.port != nil {
		return errHost
	}
	r.Host = value[:len(value):len(value)]
	return nil
}

func (r *Request) connection(value []byte) {
	for more := true; more; {
		var option []byte
		option, value, more = next(value)
		switch {
		case equalFold(option, "close"):
			r.Close = true
		case equalFold(option, "keep-alive"):
			r.keepAlive = true
		}
	}
}

// length reads a Content-Length. A list of equal ones may be taken for one, and may be refused
// (RFC 9112, section 6.3). We refuse it, as no client of today's sends it.
func (r *Request) length(value []byte) error {
	if r.ContentLength >= 0 {
		return errLengths
	}
	n, ok := parseLength(value)
	if !ok {
		return errLength
	}
	r.ContentLength = n
	return nil
}

// parseLength reads a number of bytes: digits alone (RFC 9110, section 8.6).
func parseLength(value []byte) (n int64, ok bool) {
	const digits = 18 // more do not fit into an int64
	if len(value) == 0 || len(value) > digits {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// coding reads a Transfer-Encoding. The only one that is known is chunked. What is malformed is refused
// before what is not known.
func (r *Request) coding(value []byte) error {
	r.hasCoding = true
	for more := true; more; {
		var coding []byte
		coding, value, more = next(value)
		end := skip(coding, 0, tokenByte)
		switch {
		case end == 0, end < len(coding): // an empty element, or parameters, which no coding has that is in use
			return errCoding
		case r.Chunked: // and it was not the last
			return errCodings
		case equalFold(coding, "chunked"):
			r.Chunked = true
		default:
			r.otherCoding = true
		}
	}
	return nil
}

// finish checks what can be told when all fields are there.
func (r *Request) finish() error {
	switch {
	case r.Host == nil && r.Minor > 0:
		return errNoHost
	case r.hasCoding && r.Minor == 0:
		return errOldCoding
	case r.hasCoding && r.ContentLength >= 0:
		return errBoth
	case r.otherCoding:
		return errOtherCoding
	}
	if r.Minor == 0 && !r.keepAlive {
		r.Close = true
	}
	return nil
}
