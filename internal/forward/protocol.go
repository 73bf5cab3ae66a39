package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// greetingTimeout bounds how long a target may take to answer in another protocol.
	greetingTimeout = 500 * time.Millisecond
	// greetAgainAfter is the pause before a target is greeted again that nothing has been
	// found out about: it may have been the port of a container that was still starting.
	greetAgainAfter = 2 * time.Second
)

// protocol is something other than HTTP/1.1 that a target may speak on its port.
type protocol struct {
	// reason is what a probe fails with.
	reason string
	// greet says something that a server of the protocol answers, and no other does in the
	// same way, and that changes nothing.
	greet func(net.Conn)
	// recognises tells such an answer by how it begins.
	recognises func(answer []byte) bool
}

// protocols are those that are recognised, the likeliest first.
var protocols = []protocol{
	{"it speaks TLS, not plain HTTP", greetTLS, isTLS},
	{"it speaks HTTP/2 only", greetHTTP2, isHTTP2},
	{"it speaks FastCGI, not HTTP", greetFastCGI, isFastCGI},
}

// greetTLS begins a handshake. Nothing is trusted: it never comes to a request.
func greetTLS(conn net.Conn) {
	_ = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}).Handshake()
}

// isTLS recognises a record with an alert or of a handshake (RFC 8446, section 5.1).
func isTLS(answer []byte) bool {
	return len(answer) >= 2 && (answer[0] == 21 || answer[0] == 22) && answer[1] == 3
}

// greetHTTP2 sends the preface with an empty SETTINGS frame (RFC 9113, section 3.4).
func greetHTTP2(conn net.Conn) {
	_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	_, _ = io.ReadFull(conn, make([]byte, 9))
}

// isHTTP2 recognises a SETTINGS frame, with which a server begins (RFC 9113, section 6.5).
func isHTTP2(answer []byte) bool {
	const settings = 4
	return len(answer) == 9 && answer[0] == 0 && answer[3] == settings
}

const (
	fastCGIVersion         = 1
	fastCGIGetValues       = 9
	fastCGIGetValuesResult = 10
)

// greetFastCGI asks for the values of no variable (FastCGI 1.0, section 4.1), which is no
// request.
func greetFastCGI(conn net.Conn) {
	_, _ = conn.Write([]byte{fastCGIVersion, fastCGIGetValues, 0, 0, 0, 0, 0, 0})
	_, _ = io.ReadFull(conn, make([]byte, 8))
}

func isFastCGI(answer []byte) bool {
	return len(answer) == 8 && answer[0] == fastCGIVersion && answer[1] == fastCGIGetValuesResult
}

// identify greets a target in other protocols, in one connection for each, and returns the
// reason of that which it answers; empty if it answers none.
func identify(ctx context.Context, dial func(context.Context) (net.Conn, error), candidates []protocol) string {
	ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	recognised := make([]bool, len(candidates))
	var greetings sync.WaitGroup
	for i, p := range candidates {
		greetings.Go(func() {
			conn, err := dial(ctx)
			if err != nil {
				return
			}
			defer conn.Close()
			deadline, _ := ctx.Deadline()
			_ = conn.SetDeadline(deadline)
			stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
			defer stop()
			heard := &hearingConn{Conn: conn}
			p.greet(heard)
			recognised[i] = p.recognises(heard.heard.Bytes())
		})
	}
	greetings.Wait()
	for i, p := range candidates {
		if recognised[i] {
			return p.reason
		}
	}
	return ""
}

// hearingConn keeps what is read from it.
type hearingConn struct {
	net.Conn
	heard bytes.Buffer
}

func (c *hearingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.heard.Write(p[:n])
	return n, err
}

// identification is what was found out about the protocol of a target during a gate.
type identification struct {
	// of is the failure that it explains, reason what it says instead; empty if nothing.
	of, reason string
	at         time.Time
}

// explain replaces the reason of a probe that may have failed because the target speaks
// another protocol. A target whose failure is a known one is not greeted again.
func (p *prober) explain(ctx context.Context, r probeResult, known *identification) probeResult {
	candidates := p.candidates(r)
	if candidates == nil {
		return r
	}
	if known.of != r.reason || known.reason == "" && time.Since(known.at) >= greetAgainAfter {
		*known = identification{of: r.reason, reason: identify(ctx, p.dial, candidates), at: time.Now()}
	}
	if known.reason != "" {
		r.reason = known.reason
	}
	return r
}

// candidates returns the protocols that the target may speak, as its failure suggests.
func (p *prober) candidates(r probeResult) []protocol {
	switch {
	case p.target.Scheme == "https" || r.unreachable:
		return nil
	case r.noHTTP && p.target.Scheme == "h2c":
		return protocols[:1]
	case r.noHTTP:
		return protocols
	case r.status == 400 && p.target.Scheme == "http": // as many servers answer who do not come by TLS
		return protocols[:1]
	}
	return nil
}
