package proxy

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// Large amounts pass through an upgraded connection of any protocol in both directions
// at once, and not a byte is lost or added.
func TestUpgradedConnectionsMoveLargeAmounts(t *testing.T) {
	t.Parallel()
	random := testkit.NewRand(t)
	there, back := make([]byte, 8<<20), make([]byte, 8<<20)
	for i := range there {
		there[i], back[i] = byte(random.Uint32()), byte(random.Uint32())
	}
	sums := make(chan [32]byte, 1)
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered := takeOver(t, w, "tunnel")
		defer conn.Close()
		go func() { _, _ = conn.Write(back) }()
		got := make([]byte, len(there))
		_, _ = io.ReadFull(buffered, got)
		sums <- sha256.Sum256(got)
		_, _ = io.Copy(io.Discard, buffered)
	})))
	conn, r := e.upgrade("/", "tunnel")
	go func() { _, _ = conn.Write(there) }()
	got := make([]byte, len(back))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, back) {
		t.Errorf("what the app sent arrives as something else: %v", err)
	}
	if testkit.Receive(t, sums, "what the client sent") != sha256.Sum256(there) {
		t.Error("what the client sent arrives as something else")
	}
}

// A deploy ends a busy connection of a protocol that it does not know within the
// stream timeout.
func TestBusyUpgradedConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _ := takeOver(t, w, "tunnel")
		defer conn.Close()
		for chunk := make([]byte, 64<<10); ; {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})))
	conn, r := e.upgrade("/", "tunnel")
	ended := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, r)
		_ = conn.Close()
		ended <- n
	}()
	req := requestFor("app", testkit.StartApp(t, "new"))
	req.StreamTimeout = testkit.Milliseconds(200)
	d := e.start(req)
	if n := testkit.Receive(t, ended, "the end of the stream"); n < 1<<20 {
		t.Errorf("only %d bytes came", n)
	}
	if status, err := wait(t, d); err != nil || status.Drained[0].CutStreams != 0 {
		t.Errorf("%v, %+v", err, status.Drained)
	}
}
