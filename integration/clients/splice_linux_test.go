package clients

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// A large answer over HTTP/1.1 is moved by the system and does not pass through the
// proxy, which takes two sockets that know each other as such.
func TestLargeAnswersAreNotCopied(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		part := []byte(strings.Repeat("x", 1<<20))
		for range size / len(part) {
			_, _ = w.Write(part)
		}
	})
	s := startServer(t, nil)
	x := newSite(t, s, a.addr())
	before := s.charactersRead(t)
	if got := x.client(t, "h1").get(t, "/"); len(got.body) != size {
		t.Fatalf("the answer has %d bytes", len(got.body))
	}
	if read := s.charactersRead(t) - before; read > size/4 {
		t.Errorf("the proxy has read %d bytes itself, of an answer of %d", read, size)
	}
}

// charactersRead returns how much the proxy has read by system calls that copy (proc(5),
// /proc/PID/io).
func (s *server) charactersRead(t *testing.T) (n int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.PID()))
	must(t, err)
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &n); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return n
}
