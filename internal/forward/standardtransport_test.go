package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// standardTransportTo returns a transport to the address.
func standardTransportTo(t testing.TB, scheme, address string) *standardTransport {
	s := newStandardTransport(api.Target{Scheme: scheme, Network: "tcp", Address: address}, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}, &tls.Config{MinVersion: tls.VersionTLS12}, 0)
	t.Cleanup(s.Close)
	return s
}

// startH2C returns a transport to a server that speaks HTTP/2 without TLS.
func startH2C(t testing.TB, handler http.HandlerFunc) *standardTransport {
	app := httptest.NewUnstartedServer(handler)
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(app.Close)
	return standardTransportTo(t, "h2c", app.Listener.Addr().String())
}

func TestConnectionDoesNotKeepUploadsThatAreOver(t *testing.T) {
	s := startH2C(t, func(http.ResponseWriter, *http.Request) {})
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
	for deadline := time.Now().Add(testkit.Timeout); upload.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the upload is still referred to")
		}
	}
	if open := s.Stats().Open; open != 1 {
		t.Errorf("%d connections are open, want the one of the upload", open)
	}
}

// TestInformationalAnswersWaitForTheirClientOnly and reach nobody after the end of the
// exchange.
func TestInformationalAnswersWaitForTheirClientOnly(t *testing.T) {
	arrived, taken, flooded := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	s := startH2C(t, func(w http.ResponseWriter, r *http.Request) {
		for n := 0; r.URL.Path == "/hints" && r.Context().Err() == nil; n++ {
			w.WriteHeader(http.StatusEarlyHints)
			if n == 10*maxWaiting {
				close(flooded)
			}
		}
	})
	var over atomic.Bool
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), transport.InformationalKey, transport.InformationalFunc(func(int, http.Header) error {
		if over.Load() {
			t.Error("an informational answer comes when the exchange is over")
		}
		select {
		case arrived <- struct{}{}:
		default:
		}
		<-taken
		return nil
	})))
	ended := make(chan error, 1)
	go func() {
		_, err := s.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodGet, "/hints", http.NoBody))
		over.Store(true)
		ended <- err
	}()
	testkit.Receive(t, arrived, "an informational answer")
	testkit.Receive(t, flooded, "many more")
	other, err := s.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Body.Close()
	cancel()
	select {
	case err := <-ended:
		t.Errorf("ended with %v while an answer was being passed on", err)
	case <-time.After(50 * time.Millisecond): // only a fault would end it
	}
	close(taken)
	if err := testkit.Receive(t, ended, "the end"); err == nil {
		t.Error("there is an answer")
	}
}

func TestInformationalAnswersComeBeforeTheAnswer(t *testing.T) {
	const hints = 20
	s := startH2C(t, func(w http.ResponseWriter, _ *http.Request) {
		for range hints {
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	told := 0 // the end of the round trip is what orders this
	ctx := context.WithValue(t.Context(), transport.InformationalKey, transport.InformationalFunc(func(status int, _ http.Header) error {
		told++
		return nil
	}))
	resp, err := s.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if told != hints {
		t.Errorf("%d of %d were passed on", told, hints)
	}
}

// TestImpossibleStatusIsRefused since a server that is told to pass it on panics.
func TestImpossibleStatusIsRefused(t *testing.T) {
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	l := tls.NewListener(testkit.Listen(t, "tcp", "127.0.0.1:0"), &tls.Config{Certificates: certificates.TLS.Certificates})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 042 What\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}
	}()
	s := standardTransportTo(t, "https", l.Addr().String())
	s.http.TLSClientConfig.InsecureSkipVerify = true
	resp, err := s.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	if !errors.Is(err, transport.ErrMalformed) {
		t.Errorf("%+v, %v, want %v", resp, err, transport.ErrMalformed)
	}
}

// TestOddAnswersOverTLSArePassedOnClean as those of other targets are.
func TestOddAnswersOverTLSArePassedOnClean(t *testing.T) {
	t.Parallel()
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nX : a\r\nX: b\r\nContent-Length: 2\r\n\r\nok":                                "map[Content-Length:[2] X:[b a]]",
		"HTTP/1.1 200 OK\r\nContent-Length : 9\r\nContent-Length: 2\r\nConnection : x\r\n\r\nok":         "map[Content-Length:[2]]",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok":                            "map[Content-Length:[2]]",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": "map[]",
		"HTTP/1.1 200 OK\nX: a\n b\nContent-Length: 2\n\nok":                                             "map[Content-Length:[2] X:[a b]]",
	} {
		l := tls.NewListener(testkit.Listen(t, "tcp", "127.0.0.1:0"), &tls.Config{Certificates: certificates.TLS.Certificates})
		go serveRaw(l, func(conn net.Conn) { _, _ = io.WriteString(conn, answer) })
		s := standardTransportTo(t, "https", l.Addr().String())
		s.http.TLSClientConfig.InsecureSkipVerify = true
		resp, err := s.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		if err != nil {
			t.Errorf("%q: %v", answer, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != "ok" || fmt.Sprint(resp.Header) != want {
			t.Errorf("%q: %q, %v, with the header %v, want %s", answer, body, err, resp.Header, want)
		}
	}
}
