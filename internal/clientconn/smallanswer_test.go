package clientconn

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A client over HTTP/2 may have a window of no bytes. Nothing has to be written for a small answer before the handler
// returns, so what bounds it has to hold after that.
func TestAnswerThatAClientTakesNothingOfIsBounded(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(w http.ResponseWriter){
		"small": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "small") },
		"as much as the server keeps": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, strings.Repeat("x", serverBuffer-1))
			_, _ = io.WriteString(w, "x")
		},
		"in pieces": func(w http.ResponseWriter) {
			for range 3 {
				_, _ = io.WriteString(w, strings.Repeat("x", serverBuffer/2))
			}
		},
		"large":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("x", 2*serverBuffer)) },
		"flushed": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x"); _ = http.NewResponseController(w).Flush() },
		"after a flush": func(w http.ResponseWriter) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "x")
		},
		"with a deadline of the handler's": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := stallLimit{limit: 100 * time.Millisecond, logger: zap.NewNop()}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w, _, guarded := timeout.guard(nil, w, r)
				defer guarded.done()
				serve(w)
			}))
			s.EnableHTTP2 = true
			s.StartTLS()
			t.Cleanup(s.Close)
			conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, http2.ClientPreface)
			framer := http2.NewFramer(conn, conn)
			_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			var head strings.Builder
			encoder := hpack.NewEncoder(&head)
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}} {
				_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(head.String()), EndHeaders: true, EndStream: true})
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					t.Fatalf("the stream has not been reset: %v", err)
				}
				if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.StreamID == 1 {
					return
				}
			}
		})
	}
}
