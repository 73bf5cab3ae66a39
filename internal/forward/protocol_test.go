package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/fcgi"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// firstFailure returns the first reason of a gate why the target is not healthy.
func firstFailure(t *testing.T, target string) string {
	t.Helper()
	s, err := api.DeployRequest{Targets: []string{target}}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := newTestForwarder().NewRelease(s)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	first := ""
	r.upstreams[0].untilHealthy(ctx, time.Second, func(_, reason string, _ bool) {
		first = reason
		cancel()
	})
	return first
}

// startServer starts an HTTP server that configure may change, on a socket of its own.
func startServer(t *testing.T, l net.Listener, configure func(*http.Server)) string {
	t.Helper()
	server := &http.Server{
		ReadHeaderTimeout: testkit.Timeout, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }),
	}
	configure(server)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

func TestOtherProtocolsAreRecognised(t *testing.T) {
	tomorrow := time.Now().Add(24 * time.Hour)
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{testkit.NewAuthority(t, "Ours", tomorrow).Issue(tomorrow, "app.test")}}
	listen := func() net.Listener { return testkit.Listen(t, "tcp", "127.0.0.1:0") }
	// Go's own server of HTTPS answers 400 to plain HTTP, others say nothing.
	answersTLS := testkit.StartTLSApp(t, "app", config.Certificates[0]).Target[len("https://"):]
	silentTLS := testkit.StartRawApp(t, func(_ int, conn net.Conn, _ *bufio.Reader) { _ = tls.Server(conn, config).Handshake() })
	http2 := startServer(t, listen(), func(s *http.Server) { s.Protocols.SetUnencryptedHTTP2(true) })
	socket := testkit.SocketPath(t)
	startServer(t, testkit.Listen(t, "unix", socket), func(s *http.Server) { s.Protocols.SetUnencryptedHTTP2(true) })
	http1 := startServer(t, listen(), func(s *http.Server) { s.Protocols.SetHTTP1(true) })
	php := listen()
	go func() { _ = fcgi.Serve(php, http.NotFoundHandler()) }()
	// A server that begins with SETTINGS, whatever it hears.
	settings := testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		_, _ = conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
		_, _ = io.Copy(io.Discard, r)
	})
	rude := testkit.StartRawApp(t, func(int, net.Conn, *bufio.Reader) {})
	for _, c := range []struct{ name, target, want string }{
		{"TLS that answers 400", answersTLS, "it speaks TLS, not plain HTTP"},
		{"TLS that says nothing", silentTLS, "it speaks TLS, not plain HTTP"},
		{"TLS for HTTP/2", "h2c://" + answersTLS, "it speaks TLS, not plain HTTP"},
		{"HTTP/2", http2, "it speaks HTTP/2 only"},
		{"HTTP/2 that speaks first", settings, "it speaks HTTP/2 only"},
		{"HTTP/2 on a socket", "unix/" + socket, "it speaks HTTP/2 only"},
		{"FastCGI", php.Addr().String(), "it speaks FastCGI, not HTTP"},
		{"HTTP/1.1 for HTTP/2", "h2c://" + http1, NotHTTP2},
		{"HTTP that answers 400", http1, "400 Bad Request"},
		{"nothing", rude, "connection closed without an answer"},
	} {
		if got := firstFailure(t, c.target); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
