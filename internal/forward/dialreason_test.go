package forward

import (
	"errors"
	"fmt"
	"testing"
)

// What net/http says of an HTTP/1.1 answer to HTTP/2 depends on what it comes to see first.
func TestHTTP1BehindH2CHasOneReason(t *testing.T) {
	for _, text := range []string{
		"http2: frame too large",
		"http2: failed reading the frame payload: http2: frame too large, note that the frame header looked like an HTTP/1.1 header",
		"http2: client conn could not be established",
	} {
		if got := DialReason(fmt.Errorf("Get: %w", errors.New(text))); got != NotHTTP2 {
			t.Errorf("%s: %q, want %q", text, got, NotHTTP2)
		}
	}
}
