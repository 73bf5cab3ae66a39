package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/http2/hpack"
)

// Frame and stream types of RFC 9114.
const (
	h3Data          = 0x0
	h3Headers       = 0x1
	h3Settings      = 0x4
	h3ControlStream = 0x0
)

// h3Wire speaks HTTP/3.
type h3Wire struct {
	t      *testing.T
	conn   *quic.Conn
	host   string
	stream *quic.Stream
}

func (x *site) dialH3(t *testing.T) *h3Wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, x.HTTPSAddr(), x.tlsConfig(http3.NextProtoH3), &quic.Config{})
	must(t, err)
	t.Cleanup(func() { _ = conn.CloseWithError(0x100, "") })
	control, err := conn.OpenUniStream()
	must(t, err)
	_, err = control.Write([]byte{h3ControlStream, h3Settings, 0})
	must(t, err)
	return &h3Wire{t: t, conn: conn, host: x.host}
}

func (w *h3Wire) setHost(host string) { w.host = host }

func (w *h3Wire) begin(method, target string, body bool, header ...field) {
	w.headers(!body, append([]field{
		{":method", method}, {":scheme", "https"}, {":authority", w.host}, {":path", target},
	}, header...)...)
}

// headers opens a stream with exactly these fields.
func (w *h3Wire) headers(end bool, fields ...field) {
	stream, err := w.conn.OpenStream()
	if err != nil {
		w.t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	w.stream = stream
	w.frame(h3Headers, encodeQPACK(fields))
	if end {
		w.end()
	}
}

func encodeQPACK(fields []field) []byte {
	var block bytes.Buffer
	enc := qpack.NewEncoder(&block)
	for _, f := range fields {
		name := f.name
		if !strings.HasPrefix(name, ":") {
			name = strings.ToLower(name)
		}
		_ = enc.WriteField(qpack.HeaderField{Name: name, Value: f.value})
	}
	return block.Bytes()
}

func (w *h3Wire) frame(kind uint64, payload []byte) {
	b := quicvarint.Append(nil, kind)
	b = quicvarint.Append(b, uint64(len(payload)))
	_, _ = w.stream.Write(append(b, payload...))
}

func (w *h3Wire) send(data string) { w.frame(h3Data, []byte(data)) }

func (w *h3Wire) end() { _ = w.stream.Close() }

func (w *h3Wire) abort() {
	w.stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	w.stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
}

func (w *h3Wire) answer() (a wireAnswer) {
	in := quicvarint.NewReader(w.stream)
	for {
		kind, err := quicvarint.Read(in)
		if err == io.EOF {
			if a.status == 0 {
				a.err = io.ErrUnexpectedEOF
			}
			return a
		}
		length, err2 := quicvarint.Read(in)
		if err = errors.Join(err, err2); err == nil {
			payload := make([]byte, length)
			if _, err = io.ReadFull(in, payload); err == nil {
				err = a.h3Frame(kind, payload)
			}
		}
		if err != nil {
			a.err = err
			return a
		}
	}
}

func (a *wireAnswer) h3Frame(kind uint64, payload []byte) error {
	switch kind {
	case h3Data:
		a.body += string(payload)
	case h3Headers:
		status, fields := "", []hpack.HeaderField(nil)
		next := qpack.NewDecoder().Decode(payload)
		for {
			f, err := next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return fmt.Errorf("decoding fields: %w", err)
			}
			if f.Name == ":status" {
				status = f.Value
			} else {
				fields = append(fields, hpack.HeaderField{Name: f.Name, Value: f.Value})
			}
		}
		a.headers(status, fields)
	}
	return nil
}
