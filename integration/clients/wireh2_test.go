package clients

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Wire speaks HTTP/2. Its windows are so large that they need no care.
type h2Wire struct {
	conn *tls.Conn
	*http2.Framer
	// mu guards the writing side.
	mu     sync.Mutex
	enc    *hpack.Encoder
	block  bytes.Buffer
	host   string
	stream uint32
	// settings are the server's, once an answer has been read.
	settings map[http2.SettingID]uint32
}

func (x *site) dialH2(t *testing.T) *h2Wire {
	t.Helper()
	conn, err := tls.Dial("tcp", x.HTTPSAddr(), x.tlsConfig("h2"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	w := &h2Wire{conn: conn, Framer: http2.NewFramer(conn, conn), host: x.host, settings: make(map[http2.SettingID]uint32)}
	w.enc = hpack.NewEncoder(&w.block)
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	// What a test may want to send, the library would not let it.
	w.AllowIllegalWrites = true
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	must(t, w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}, http2.Setting{ID: http2.SettingEnablePush, Val: 0}))
	must(t, w.WriteWindowUpdate(0, 1<<30))
	return w
}

func (w *h2Wire) setHost(host string) { w.host = host }

func (w *h2Wire) begin(method, target string, body bool, header ...field) {
	w.headers(!body, append([]field{
		{":method", method}, {":scheme", "https"}, {":authority", w.host}, {":path", target},
	}, header...)...)
}

// headers opens a stream with exactly these fields.
func (w *h2Wire) headers(end bool, fields ...field) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream == 0 {
		w.stream = 1
	} else {
		w.stream += 2
	}
	_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: w.stream, BlockFragment: w.encode(fields), EndHeaders: true, EndStream: end})
}

// encode returns the fields as a block, which is good until the next.
func (w *h2Wire) encode(fields []field) []byte {
	w.block.Reset()
	for _, f := range fields {
		name := f.name
		if !strings.HasPrefix(name, ":") {
			name = strings.ToLower(name)
		}
		_ = w.enc.WriteField(hpack.HeaderField{Name: name, Value: f.value})
	}
	return w.block.Bytes()
}

func (w *h2Wire) send(data string) {
	for len(data) > 0 {
		n := min(len(data), 16<<10)
		w.mu.Lock()
		_ = w.WriteData(w.stream, false, []byte(data[:n]))
		w.mu.Unlock()
		data = data[n:]
	}
}

func (w *h2Wire) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.WriteData(w.stream, true, nil)
}

func (w *h2Wire) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.WriteRSTStream(w.stream, http2.ErrCodeCancel)
}

func (w *h2Wire) answer() (a wireAnswer) {
	for {
		frame, err := w.ReadFrame()
		if err != nil {
			// A stream error is one in what the proxy has sent.
			a.err = err
			return a
		}
		if w.control(frame) || frame.Header().StreamID != w.stream {
			if goAway, ok := frame.(*http2.GoAwayFrame); ok && goAway.ErrCode != http2.ErrCodeNo {
				a.err = fmt.Errorf("the connection ends: %s", goAway.ErrCode)
				return a
			}
			continue
		}
		ended := false
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			a.headers(f.PseudoValue("status"), f.RegularFields())
			ended = f.StreamEnded()
		case *http2.DataFrame:
			a.body += string(f.Data())
			ended = f.StreamEnded()
		case *http2.RSTStreamFrame:
			a.err = http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode}
			return a
		}
		if ended {
			return a
		}
	}
}

// control does what the connection needs.
func (w *h2Wire) control(frame http2.Frame) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			_ = f.ForeachSetting(func(s http2.Setting) error { w.settings[s.ID] = s.Val; return nil })
			_ = w.WriteSettingsAck()
		}
		return true
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = w.WritePing(true, f.Data)
		}
		return true
	case *http2.GoAwayFrame, *http2.WindowUpdateFrame:
		return true
	}
	return false
}

// headers takes in a block of fields: an informational answer, the answer's head or
// its trailers.
func (a *wireAnswer) headers(status string, fields []hpack.HeaderField) {
	header := make(http.Header)
	for _, f := range fields {
		header.Add(f.Name, f.Value)
	}
	code, err := strconv.Atoi(status)
	switch {
	case a.status != 0:
		a.trailer = header
	case err != nil:
		a.err = errors.Join(a.err, fmt.Errorf("status %q", status))
	case code < 200:
		a.informational = append(a.informational, code)
	default:
		a.status, a.header = code, header
	}
}
