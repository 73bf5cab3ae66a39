package forward

import (
	"net/http"
	"sync"
)

// targetHeader is the header of a request to a target, which is lent for the time
// of the exchange.
type targetHeader struct {
	fields http.Header
	// values are those of the fields that describe sets.
	values [6]string
}

var targetHeaders = sync.Pool{New: func() any { return &targetHeader{fields: make(http.Header, 24)} }}

// release takes the header back.
func (h *targetHeader) release() {
	if len(h.fields) > 64 {
		return // a map never shrinks
	}
	clear(h.fields)
	h.values = [6]string{}
	targetHeaders.Put(h)
}
