package real

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// answer is what a client gets. Without a status there was an error.
type answer struct {
	status   int
	body     string
	version  string
	instance string
	location string
	serial   string
	err      error
}

// get makes a request of a new connection to the port 80 of the machine.
func get(host, path string, header ...string) answer { return request("http://"+host+path, header...) }

// request makes a request to a URL, whose host is the machine.
func request(url string, header ...string) answer {
	client := http.Client{
		Timeout: 40 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the test looks at the serial number
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return answer{err: err}
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{
		status: resp.StatusCode, body: string(body), err: err, location: resp.Header.Get("Location"),
		version: resp.Header.Get("X-Version"), instance: resp.Header.Get("X-Instance"),
	}
	if resp.TLS != nil {
		a.serial = resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	return a
}
