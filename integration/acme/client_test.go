package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// What clients speak over TLS.
const (
	h1 = "h1"
	h2 = "h2"
	h3 = "h3"
)

var protocols = []string{h1, h2, h3}

// eachProtocol runs a test with every protocol, all at once.
func eachProtocol(t *testing.T, test func(t *testing.T, protocol string)) {
	t.Helper()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}

// client returns a client that finds every host at the proxy, follows no redirects
// and trusts roots.
func (s *server) client(t *testing.T, protocol string, roots *x509.CertPool) *http.Client {
	t.Helper()
	return &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     s.transport(t, protocol, &tls.Config{RootCAs: roots}),
	}
}

func (s *server) transport(t *testing.T, protocol string, config *tls.Config) http.RoundTripper {
	if protocol == h3 {
		tr := &http3.Transport{
			TLSClientConfig: config,
			Dial: func(ctx context.Context, _ string, config *tls.Config, q *quic.Config) (*quic.Conn, error) {
				return quic.DialAddr(ctx, s.HTTPSAddr(), config, q)
			},
		}
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	tr := &http.Transport{
		TLSClientConfig: config,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to := s.HTTPSAddr()
			if _, port, _ := net.SplitHostPort(addr); port == "80" {
				to = s.Addr()
			}
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		},
		MaxIdleConnsPerHost: 100,
		Protocols:           new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(protocol == h1)
	tr.Protocols.SetHTTP2(protocol == h2)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// answer is a response that has been read to its end.
type answer struct {
	*http.Response
	body string
}

func (a answer) String() string { return fmt.Sprintf("%s %.200q over %s", a.Status, a.body, a.Proto) }

func ask(c *http.Client, method, url string) (answer, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return answer{}, err
	}
	return do(c, req)
}

func do(c *http.Client, req *http.Request) (answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp, string(body)}, err
}

// get makes one request with a client of its own and returns the body.
func (s *server) get(t *testing.T, url string, roots *x509.CertPool) answer {
	t.Helper()
	a, err := ask(s.client(t, h1, roots), http.MethodGet, url)
	must(t, err)
	return a
}

// wantBody checks that a host answers over HTTPS, with a certificate to trust.
func (s *server) wantBody(t *testing.T, host, body string, roots *x509.CertPool) {
	t.Helper()
	if a := s.get(t, "https://"+host+"/", roots); a.StatusCode != http.StatusOK || a.body != body {
		t.Errorf("%s: %s, want %q", host, a, body)
	}
}

// handshake makes one, as a client that sends name, and returns what was agreed on.
// No name is sent if it is empty. What the certificate is worth is not looked at.
func (s *server) handshake(name string, config *tls.Config) (tls.ConnectionState, error) {
	if config == nil {
		config = new(tls.Config)
	}
	config.ServerName, config.InsecureSkipVerify = name, true
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", s.HTTPSAddr())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*tls.Conn).ConnectionState(), nil
}

// leaf returns the certificate that is served for a name.
func (s *server) leaf(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	state, err := s.handshake(name, nil)
	if err != nil {
		t.Fatalf("handshake for %q: %v", name, err)
	}
	return state.PeerCertificates[0]
}
