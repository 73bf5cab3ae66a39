package edge

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/clientconn"
)

// BenchmarkKeptConnection measures a small request as a browser sends it, and its answer, on a
// connection that is kept.
func BenchmarkKeptConnection(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	body := []byte("hello")
	length, kind := []string{"5"}, []string{"text/plain"}
	std := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Length"], h["Content-Type"] = length, kind
		_, _ = w.Write(body)
	})}
	go func() {
		if c, err := clientconn.NewListener(l).Accept(); err == nil {
			(&Server{Std: std}).Start(c)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	request := []byte("GET /assets/app.js?v=1 HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n" +
		"Accept: */*\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://app.example.com/\r\nCookie: session=0123456789abcdef\r\n\r\n")
	answer := make([]byte, 4096)
	exchange := func() int {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		n, err := c.Read(answer)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	size := exchange()
	b.ReportAllocs()
	for b.Loop() {
		if n := exchange(); n != size {
			b.Fatal(io.ErrUnexpectedEOF)
		}
	}
}
