package clientconn

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"
)

// The engine ends a read of a client's body with a deadline in the past, and waits
// for it. That has to work when the read has not begun yet, too: until this was so, an
// early answer to an upload could be held back for as long as the client may stall.
func TestDeadlineInThePastEndsReadsThatAreYetToBegin(t *testing.T) {
	for name, timeout := range map[string]stallLimit{
		"by the server": {limit: time.Minute, logger: zap.NewNop()},
		"by the system": {limit: time.Minute, logger: zap.NewNop()},
		"no timeout":    {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := make(chan error, 1)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w, r, guarded := timeout.guard(nil, w, r)
				defer guarded.done()
				if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); err != nil {
					read <- err
					return
				}
				_, err := r.Body.Read(make([]byte, 1))
				read <- err
			}))
			if name == "by the system" {
				s.Config.ConnContext = timeout.connContext
			}
			s.Start()
			t.Cleanup(s.Close)
			c, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() }) // before the server's, which waits for it
			if _, err := c.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-read:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the read ended with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the read has not ended")
			}
		})
	}
}

// A client that never stalls may still have no more time than the server gives to all
// requests.
func TestClientTimeoutDoesNotLiftTheServersTimeouts(t *testing.T) {
	t.Parallel()
	timeout := stallLimit{limit: time.Minute, logger: zap.NewNop(), read: 100 * time.Millisecond}
	read := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, r, guarded := timeout.guard(nil, w, r)
		defer guarded.done()
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
	}))
	t.Cleanup(s.Close)
	body, client := io.Pipe()
	t.Cleanup(func() { client.Close() })
	go func() {
		resp, err := http.Post(s.URL, "text/plain", body)
		if err == nil {
			resp.Body.Close()
		}
	}()
	for end := time.After(20 * time.Second); ; {
		select {
		case err := <-read:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the read ended with %v", err)
			}
			return
		case <-end:
			t.Fatal("the read has not ended")
		default:
			_, _ = client.Write([]byte("x")) // fails when the server has closed the connection
		}
	}
}
