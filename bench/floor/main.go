//lint:file-ignore SA1019 the floor has the server for HTTP/2 that parachute has

// Floor is the least that a proxy in Go does for a request with the servers that Go has. It looks at nothing:
// the target gets the same bytes for each request, and the client gets what the target has answered. What a
// proxy needs beside that is its own work; what this program needs, no proxy with these servers can save.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/net/http2"
)

func main() {
	plain := flag.String("http", "", "serve HTTP/1.1 at this `address`")
	secure := flag.String("https", "", "serve HTTP/1.1 and 2 over TLS at this `address`")
	cert, key := flag.String("cert", "", "the certificate"), flag.String("key", "", "its key")
	var up upstream
	flag.StringVar(&up.addr, "upstream", "", "the `address` that gets the requests")
	host := flag.String("host", "", "the `host` that they name")
	flag.Parse()
	up.request = fmt.Appendf(nil, "GET /small HTTP/1.1\r\nHost: %[1]s\r\nUser-Agent: parachute-bench\r\nAccept: */*\r\n"+
		"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: %[1]s\r\nX-Forwarded-Proto: http\r\n\r\n", *host)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &up, *plain, *secure, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, up *upstream, plain, secure, cert, key string) error {
	l, err := net.Listen("tcp", plain)
	if err != nil {
		return err
	}
	go serveAll(l, up.serve)
	if cert != "" {
		if err := serveTLS(up, secure, cert, key); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// serveTLS serves HTTP/1.1 as without TLS, and HTTP/2 by the server of golang.org/x/net.
func serveTLS(up *upstream, addr, cert, key string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	std, h2 := &http.Server{Handler: up}, &http2.Server{}
	if err := http2.ConfigureServer(std, h2); err != nil {
		return err
	}
	go serveAll(l, func(c net.Conn) {
		secure := tls.Server(c, config)
		if secure.Handshake() != nil {
			_ = c.Close()
			return
		}
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			h2.ServeConn(secure, &http2.ServeConnOpts{BaseConfig: std})
			return
		}
		up.serve(secure)
	})
	return nil
}

func serveAll(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

// bufferSize is that of all buffers, in bytes: what is sent and answered here is smaller.
const bufferSize = 4 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// upstream is who answers the requests.
type upstream struct {
	addr    string
	request []byte

	// mu guards idle.
	mu   sync.Mutex
	idle []net.Conn
}

// serve serves the requests of a connection, none of which has a body.
func (u *upstream) serve(c net.Conn) {
	defer c.Close()
	in := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(in)
	for {
		n, err := c.Read(in[:])
		if err != nil {
			return
		}
		closes := bytes.Contains(in[:n], []byte("Connection: close\r\n"))
		if n, err = u.exchange(in); err != nil {
			return
		}
		if _, err := c.Write(in[:n]); err != nil || closes {
			return
		}
	}
}

// ServeHTTP implements [http.Handler], for HTTP/2.
func (u *upstream) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	in := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(in)
	n, err := u.exchange(in)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_, body, _ := bytes.Cut(in[:n], []byte("\r\n\r\n"))
	w.Header()["Content-Type"] = []string{"text/plain"}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body)
}

var errIncomplete = errors.New("the answer is incomplete")

// exchange sends the request and reads the answer, which comes at once.
func (u *upstream) exchange(in *[bufferSize]byte) (n int, err error) {
	c := u.take()
	if c == nil {
		if c, err = net.Dial("tcp", u.addr); err != nil {
			return 0, err
		}
	}
	if _, err := c.Write(u.request); err != nil {
		_ = c.Close()
		return 0, err
	}
	if n, err = c.Read(in[:]); err == nil && !bytes.Contains(in[:n], []byte("\r\n\r\n")) {
		err = errIncomplete
	}
	if err != nil {
		_ = c.Close()
		return 0, err
	}
	u.mu.Lock()
	u.idle = append(u.idle, c)
	u.mu.Unlock()
	return n, nil
}

func (u *upstream) take() net.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := len(u.idle) - 1
	if last < 0 {
		return nil
	}
	c := u.idle[last]
	u.idle = u.idle[:last]
	return c
}
