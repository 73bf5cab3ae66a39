package load

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// startTLS returns a server that speaks HTTP/2 if it is told to.
func startTLS(t *testing.T, http2 bool) Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Server{Addr: s.Listener.Addr().String(), TLS: &tls.Config{
		RootCAs: roots, ServerName: "example.com", NextProtos: []string{"h2", "http/1.1"},
	}}
}

func TestStreams(t *testing.T) {
	l, err := StartStreams(startTLS(t, true), 2, 4, Request{Path: "/", Host: "example.com", WantLength: int64(len("HTTP/2.0"))})
	if err != nil {
		t.Fatal(err)
	}
	if result := runUntil(t, l, func() bool { return l.Requests() >= 50 }); result.Errors != 0 {
		t.Errorf("%+v", result)
	}
}

func TestStreamsNeedHTTP2(t *testing.T) {
	if _, err := StartStreams(startTLS(t, false), 1, 1, Request{Path: "/", Host: "example.com"}); err == nil {
		t.Error("there is a load over HTTP/2 to a server that has only HTTP/1.1")
	}
}

func TestClosedLoopOverTLS(t *testing.T) {
	server := startTLS(t, false)
	l := StartClosed(server, 2, Request{Path: "/", Host: "example.com", WantLength: int64(len("HTTP/1.1"))})
	if result := runUntil(t, l, func() bool { return l.Requests() >= 20 }); result.Errors != 0 {
		t.Errorf("%+v", result)
	}
}
