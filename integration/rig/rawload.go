package rig

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// RawLoad makes requests of every class that a proxy may treat in another way, and counts
// those that get no answer. Nothing is repeated: Go's own client would hide half of what a
// server loses.
type RawLoad struct {
	pause   time.Duration
	ctx     context.Context
	stop    context.CancelFunc
	clients sync.WaitGroup

	// mu guards classes.
	mu      sync.Mutex
	classes map[string]*RawOutcome
}

// RawOutcome is what became of the requests of one class.
type RawOutcome struct {
	// Answered are the requests with an answer of 200, Refused the connections that nobody
	// wanted, and Lost the requests without an answer, with what happened instead.
	Answered, Refused int
	Lost              []string
	// Rejected are those over HTTP/3 of which the server has said that it has not begun with
	// them, and Connections the connections over HTTP/3.
	Rejected, Connections int
}

// RawTarget is where a RawLoad goes to.
type RawTarget struct {
	// Plain and Secure are the addresses of the proxy without and with TLS. An empty one has
	// no clients.
	Plain, Secure string
	// PlainHost and SecureHost are the hosts of the requests, Path is their path.
	PlainHost, SecureHost, Path string
	// TLS is the client's config of TLS.
	TLS *tls.Config
	// Patience is how long a request may take. Default: 30s.
	Patience time.Duration
	// HTTP3 has clients over HTTP/3 as well.
	HTTP3 bool
	// Pause is the time between two requests of a client. Default: none.
	Pause time.Duration
}

// patience returns how long a request may take.
func (t RawTarget) patience() time.Duration { return cmp.Or(t.Patience, rawPatience) }

// StartRawLoad starts as many clients of each class.
func StartRawLoad(target RawTarget, clients int) *RawLoad {
	l := &RawLoad{pause: target.Pause, classes: make(map[string]*RawOutcome)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	for range clients {
		if target.Plain != "" {
			l.client("h1 GET, connection each", &rawHTTP1{RawTarget: target})
			l.client("h1 GET, kept alive", &rawHTTP1{RawTarget: target, keep: true})
			l.client("h1 POST, connection each", &rawHTTP1{RawTarget: target, post: true})
			l.client("h1 POST, kept alive", &rawHTTP1{RawTarget: target, post: true, keep: true})
		}
		if target.Secure != "" {
			l.client("TLS h1 GET, connection each", &rawHTTP1{RawTarget: target, secure: true})
			l.client("TLS h1 GET, kept alive", &rawHTTP1{RawTarget: target, secure: true, keep: true})
			l.client("TLS h1 POST, kept alive", &rawHTTP1{RawTarget: target, secure: true, post: true, keep: true})
			l.client("h2 GET", &rawHTTP2{RawTarget: target})
			l.client("h2 POST", &rawHTTP2{RawTarget: target, post: true})
		}
		if target.HTTP3 {
			for class, post := range map[string]bool{"h3 GET": false, "h3 POST": true} {
				l.client(class, &rawHTTP3{RawTarget: target, post: post, dialed: func() { l.countConnection(class) }})
			}
		}
	}
	return l
}

// rawClient makes requests one after the other.
type rawClient interface {
	// request makes one. Its error is errRefused if nobody has taken the connection.
	request() error
	close()
}

// countConnection counts a connection of a class.
func (l *RawLoad) countConnection(class string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.classes[class].Connections++
}

// errRefused is that a connection was refused before a request was sent.
var errRefused = errors.New("the connection was refused")

func (l *RawLoad) client(class string, c rawClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	outcome := l.classes[class]
	if outcome == nil {
		outcome = new(RawOutcome)
		l.classes[class] = outcome
	}
	l.clients.Go(func() {
		defer c.close()
		for l.ctx.Err() == nil {
			err := c.request()
			l.mu.Lock()
			switch {
			case err == nil:
				outcome.Answered++
			case errors.Is(err, errRefused):
				outcome.Refused++
			case isRejected(err):
				outcome.Rejected++
			default:
				outcome.Lost = append(outcome.Lost, err.Error())
			}
			l.mu.Unlock()
			pause := l.pause
			if err != nil { // not too fast, if there is no proxy
				pause = max(pause, 5*time.Millisecond)
			}
			if pause > 0 {
				select {
				case <-l.ctx.Done():
				case <-time.After(pause):
				}
			}
		}
	})
}

// Stop has all clients end what they are doing, and returns what became of the requests, by
// class.
func (l *RawLoad) Stop() map[string]RawOutcome {
	l.stop()
	l.clients.Wait()
	return l.Outcomes()
}

// Outcomes returns what became of the requests so far, by class.
func (l *RawLoad) Outcomes() map[string]RawOutcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]RawOutcome)
	for class, o := range l.classes {
		all[class] = RawOutcome{o.Answered, o.Refused, slices.Clone(o.Lost), o.Rejected, o.Connections}
	}
	return all
}

// Answered returns the number of answers of the class that has the fewest.
func (l *RawLoad) Answered() int {
	fewest := -1
	for _, o := range l.Outcomes() {
		if fewest < 0 || o.Answered < fewest {
			fewest = o.Answered
		}
	}
	return fewest
}

// DescribeRaw puts outcomes into words, a class on a line, and counts what was lost.
func DescribeRaw(outcomes map[string]RawOutcome) (text string, answered, lost int) {
	var b strings.Builder
	for _, class := range slices.Sorted(maps.Keys(outcomes)) {
		o := outcomes[class]
		answered, lost = answered+o.Answered, lost+len(o.Lost)
		fmt.Fprintf(&b, "%-28s %6d answered, %d refused, %d lost", class, o.Answered, o.Refused, len(o.Lost))
		if o.Connections > 0 {
			fmt.Fprintf(&b, ", %d rejected, %d connections", o.Rejected, o.Connections)
		}
		if len(o.Lost) > 0 {
			fmt.Fprintf(&b, ", the first with: %s", o.Lost[0])
		}
		b.WriteByte('\n')
	}
	return b.String(), answered, lost
}

// rawPatience is the default of RawTarget.Patience.
const rawPatience = 30 * time.Second

// connect opens a connection.
func (t RawTarget) connect(secure bool, protocol string) (net.Conn, error) {
	address := t.Plain
	if secure {
		address = t.Secure
	}
	c, err := net.DialTimeout("tcp", address, t.patience())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errRefused
	}
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(t.patience()))
	if !secure {
		return c, nil
	}
	config := t.TLS.Clone()
	config.NextProtos = []string{protocol}
	over := tls.Client(c, config)
	if err := over.Handshake(); err != nil {
		c.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return over, nil
}

// rawHTTP1 speaks HTTP/1.1.
type rawHTTP1 struct {
	RawTarget
	secure, post, keep bool

	conn   net.Conn
	reader *bufio.Reader
}

func (c *rawHTTP1) request() error {
	if c.conn == nil {
		conn, err := c.connect(c.secure, "http/1.1")
		if err != nil {
			return err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(c.patience()))
	last, err := c.exchange()
	if last || err != nil {
		c.close()
	}
	return err
}

// exchange makes a request on the connection, and tells whether it was the last one.
func (c *rawHTTP1) exchange() (last bool, err error) {
	method, host, body := "GET", c.PlainHost, ""
	if c.secure {
		host = c.SecureHost
	}
	head := ""
	if c.post {
		method, body, head = "POST", rawBody, fmt.Sprintf("Content-Length: %d\r\n", len(rawBody))
	}
	if !c.keep {
		head += "Connection: close\r\n"
	}
	if _, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", method, c.Path, host, head, body); err != nil {
		return true, fmt.Errorf("sending: %w", err)
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return true, fmt.Errorf("answer: %w", err)
	}
	return resp.Close || !c.keep, checkRaw(resp)
}

func (c *rawHTTP1) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

var rawBody = strings.Repeat("x", 100)

func checkRaw(resp *http.Response) error {
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// rawHTTP2 speaks HTTP/2 on one connection after the other, as the server allows it to.
type rawHTTP2 struct {
	RawTarget
	post bool

	conn *http.ClientConn
}

func (c *rawHTTP2) request() error {
	if c.conn != nil && (c.conn.Err() != nil || c.conn.Available() == 0) {
		c.close() // the server has said that it takes no more
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.patience())
	defer cancel()
	if c.conn == nil {
		tr := &http.Transport{Protocols: new(http.Protocols), DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			conn, err := c.connect(true, "h2")
			if err == nil {
				_ = conn.SetDeadline(time.Time{}) // of the handshake
			}
			return conn, err
		}}
		tr.Protocols.SetHTTP2(true)
		conn, err := tr.NewClientConn(ctx, "https", c.Secure)
		if err != nil {
			return err
		}
		c.conn = conn
	}
	req, err := c.secureRequest(ctx, c.post)
	if err != nil {
		return err
	}
	resp, err := c.conn.RoundTrip(req)
	if err != nil {
		c.close()
		if strings.Contains(err.Error(), notUsable) {
			return c.request()
		}
		return err
	}
	return checkRaw(resp)
}

// secureRequest returns a request over TLS. The body of a POST can be sent once.
func (t RawTarget) secureRequest(ctx context.Context, post bool) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if post {
		method, body = http.MethodPost, struct{ io.Reader }{strings.NewReader(rawBody)}
	}
	return http.NewRequestWithContext(ctx, method, "https://"+t.SecureHost+t.Path, body)
}

// notUsable is what net/http says, in an error that it does not export, when the server has asked for
// no more requests on the connection by the time at which one is to be made. Nothing was sent.
const notUsable = "client conn not usable"

func (c *rawHTTP2) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}
