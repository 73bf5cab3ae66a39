package clients

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawH2App is an application over HTTP/2 without TLS that is played by hand. It has no
// health check.
type rawH2App struct {
	addr          string
	stopListening func() error
	port          keptPort
	// conns counts its connections.
	conns atomic.Int64
}

// rawH2Conn is the application's side of a connection.
type rawH2Conn struct {
	*http2.Framer
	net.Conn
	header  bytes.Buffer
	encoder *hpack.Encoder
	// requests counts the requests of the connection, from 1.
	requests int
}

// startRawH2App starts an application that announces settings and then hands every
// frame to serve, but those that are about settings and pings. serve ends the
// connection when it returns false.
func startRawH2App(t *testing.T, serve func(c *rawH2Conn, f http2.Frame) bool, settings ...http2.Setting) *rawH2App {
	t.Helper()
	a := new(rawH2App)
	l := listen(t, func(conn net.Conn) {
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		a.conns.Add(1)
		c := &rawH2Conn{Framer: http2.NewFramer(conn, conn), Conn: conn}
		c.encoder = hpack.NewEncoder(&c.header)
		_ = c.WriteSettings(settings...)
		c.serve(serve)
	})
	t.Cleanup(a.port.release)
	a.addr = l.Addr().String()
	a.stopListening = func() error {
		err := l.Close()
		a.port.keep(l.Addr())
		return err
	}
	return a
}

func (c *rawH2Conn) serve(serve func(c *rawH2Conn, f http2.Frame) bool) {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.WriteSettingsAck()
			}
			continue
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = c.WritePing(true, f.Data)
			}
			continue
		case *http2.HeadersFrame:
			c.requests++
		}
		if !serve(c, frame) {
			return
		}
	}
}

// answer answers a request with a header and nothing else.
func (c *rawH2Conn) answer(stream uint32, fields ...field) {
	c.header.Reset()
	for _, f := range fields {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: f.name, Value: f.value})
	}
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.header.Bytes(), EndHeaders: true, EndStream: true})
}
