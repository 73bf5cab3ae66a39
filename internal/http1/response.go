package http1

// Response is the head of a final response that can be passed on as it was sent: of HTTP/1.1, with one length,
// chunked or without a body, and with nothing that a reader would have to mend. Its slices point
// into the bytes that were parsed. A Response can be used again: Parse keeps the room of Fields.
type Response struct {
	// Status is the status code, from 200 to 599.
	Status int
	// Fields are in the order in which they were sent.
	Fields []Field
	// ContentLength is -1 if there is none.
	ContentLength int64
	// Chunked says that the content is chunked.
	Chunked bool
	// Close says that the connection ends with the response.
	Close bool
}

// Parse reads a head from the beginning of b and returns its size; 0 if b has only a beginning of one. It
// returns false as soon as it finds something for which a Response is not made: an informational response,
// another coding, a trailer, a switch of protocols, a second length, or anything that RFC 9112 does not allow.
func (r *Response) Parse(b []byte) (size int, ok bool) {
	*r = Response{Fields: r.Fields[:0], ContentLength: -1}
	const version = "HTTP/1.1 "
	for j := range min(len(version), len(b)) {
		if b[j] != version[j] {
			return 0, false
		}
	}
	if len(b) < len(version)+len("200\r\n") {
		return 0, true
	}
	for _, c := range b[len(version) : len(version)+3] {
		if c < '0' || c > '9' {
			return 0, false
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	i := len(version) + 3
	if r.Status < 200 || r.Status > 599 || b[i] != ' ' && b[i] != '\r' {
		return 0, false
	}
	i, err := endOfLine(b, skip(b, i, valueByte)) // behind the reason (RFC 9112, section 4)
	for err == nil {
		switch {
		case i == len(b):
			err = ErrIncomplete
		case b[i] == '\r':
			if i, err = endOfLine(b, i); err == nil {
				return i, !r.Chunked || r.ContentLength < 0 && r.Status != 204 // RFC 9112, section 6.1
			}
		default:
			var f Field
			if f, i, err = fieldLine(b, i); err == nil {
				if !r.note(f) {
					return 0, false
				}
				r.Fields = append(r.Fields, f)
			}
		}
	}
	return 0, err == ErrIncomplete
}

// note keeps what a field says about the message itself. It returns false for a field with which a response
// is not passed on as it was sent.
func (r *Response) note(f Field) bool {
	switch len(f.Name) {
	case len("connection"):
		if equalFold(f.Name, "connection") {
			return r.connection(f.Value)
		}
	case len("content-length"):
		if equalFold(f.Name, "content-length") {
			n, ok := parseLength(f.Value)
			if !ok || r.ContentLength >= 0 {
				return false
			}
			r.ContentLength = n
		}
	case len("transfer-encoding"):
		if equalFold(f.Name, "transfer-encoding") {
			again := r.Chunked
			r.Chunked = equalFold(f.Value, "chunked")
			return r.Chunked && !again
		}
	case len("trailer"):
		return !equalFold(f.Name, "trailer") && !equalFold(f.Name, "upgrade")
	}
	return true
}

// connection reads a Connection field that has one option, as nearly all have.
func (r *Response) connection(value []byte) bool {
	switch {
	case equalFold(value, "close"):
		r.Close = true
	case !equalFold(value, "keep-alive"):
		return false
	}
	return true
}
