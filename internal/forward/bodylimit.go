package forward

import (
	"io"
	"net/http"
)

// LimitBody has the body of a request end with [ErrLargeBody] if it has more than most bytes.
// It returns false if the request says itself that it has, before anything of it is read.
func LimitBody(in *http.Request, most int64) bool {
	if !hasBody(in) {
		return true
	}
	b, again := in.Body.(*requestBody)
	switch {
	case again && b.spool != nil:
		return b.spool.Size() <= most
	case in.ContentLength >= 0: // the server gives no more than that
		return in.ContentLength <= most
	case again: // from a release that allowed another size
		b.body = &limitedBody{b.body, most - b.size()}
	default:
		in.Body = &limitedBody{in.Body, most}
	}
	return true
}

// hasBody reports whether a request may have a body. What comes behind a CONNECT is none.
func hasBody(in *http.Request) bool {
	if _, again := in.Body.(repeatedBody); again {
		return false
	}
	return in.Body != nil && in.Body != http.NoBody && in.ContentLength != 0 && in.Method != http.MethodConnect
}

// limitedBody is a body that fails with ErrLargeBody behind the bytes that are left.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, ErrLargeBody
	}
	// One byte more tells a body that is too large from one that ends here.
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if int64(n) > l.left {
		n, l.left = int(l.left), -1
		return n, ErrLargeBody
	}
	l.left -= int64(n)
	return n, err
}
