package clients

//lint:file-ignore SA1019 the transport of net/http refuses the :protocol of an extended CONNECT

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// What clients speak. HTTP/1.1 comes in two, since bodies may take other ways
// through the proxy when there is no TLS.
const (
	h1    = "h1"
	h1TLS = "h1-tls"
	h2    = "h2"
	h3    = "h3"
)

var protocols = []string{h1, h1TLS, h2, h3}

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

// client speaks one protocol to one site.
type client struct {
	*http.Client
	site     *site
	protocol string
	// dials counts the connections.
	dials atomic.Int64
}

// client returns a client that follows no redirects and bounds nothing by itself.
func (x *site) client(t *testing.T, protocol string) *client {
	t.Helper()
	c := &client{site: x, protocol: protocol}
	c.Client = &http.Client{
		Transport:     c.transport(t),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

func (x *site) tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: x.roots, ServerName: x.host, NextProtos: protocols}
}

func (c *client) transport(t *testing.T) http.RoundTripper {
	switch c.protocol {
	case h3:
		tr := &http3.Transport{
			TLSClientConfig: c.site.tlsConfig(http3.NextProtoH3),
			Dial: func(ctx context.Context, _ string, config *tls.Config, q *quic.Config) (*quic.Conn, error) {
				c.dials.Add(1)
				return quic.DialAddr(ctx, c.site.HTTPSAddr(), config, q)
			},
			DisableCompression: true,
		}
		t.Cleanup(func() { tr.Close() })
		return tr
	case h2:
		tr := &http2.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
				c.dials.Add(1)
				d := tls.Dialer{Config: c.site.tlsConfig("h2")}
				return d.DialContext(ctx, "tcp", c.site.HTTPSAddr())
			},
			DisableCompression: true,
		}
		t.Cleanup(tr.CloseIdleConnections)
		return tr
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c.dials.Add(1)
		if c.protocol == h1TLS {
			d := tls.Dialer{Config: c.site.tlsConfig("http/1.1")}
			return d.DialContext(ctx, "tcp", c.site.HTTPSAddr())
		}
		return new(net.Dialer).DialContext(ctx, "tcp", c.site.Addr())
	}
	tr := &http.Transport{DialContext: dial, DialTLSContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 1000}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func (c *client) url(path string) string {
	if c.protocol == h1 {
		return "http://" + c.site.host + path
	}
	return "https://" + c.site.host + path
}

// request returns a request that ends with the test or when patience is over.
func (c *client) request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, c.url(path), body)
	must(t, err)
	return req
}

// answer is a response that has been read to its end.
type answer struct {
	*http.Response
	body string
}

// ask makes a request and reads the whole answer.
func (c *client) ask(req *http.Request) (answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp, string(body)}, err
}

func (c *client) get(t *testing.T, path string) answer {
	t.Helper()
	a, err := c.ask(c.request(t, http.MethodGet, path, nil))
	must(t, err)
	return a
}
