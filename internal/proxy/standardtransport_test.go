package proxy

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"
)

func TestConnectionDoesNotKeepUploadsThatAreOver(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(app.Close)
	address := app.Listener.Addr().String()
	s := newStandardTransport(Target{Scheme: "h2c", Network: "tcp", Address: address}, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}, 0)
	t.Cleanup(s.Close)

	upload := func() weak.Pointer[requestBody] {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		in := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader("hello"))
		body := newRequestBody(in, nil)
		in.Body = body
		resp, err := s.RoundTrip(in)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return weak.Make(body)
	}()
	for deadline := time.Now().Add(testTimeout); upload.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the upload is still referred to")
		}
	}
	if open := s.Stats().Open; open != 1 {
		t.Errorf("%d connections are open, want the one of the upload", open)
	}
}
