package clients

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// dialWebSocket opens a WebSocket with the library: over HTTP/1.1 the way it knows,
// over HTTP/2 and HTTP/3 by extended CONNECT.
func (c *client) dialWebSocket(t *testing.T, path string) (*websocket.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hc := *c.Client
	if c.protocol == h2 || c.protocol == h3 {
		hc.Transport = extendedConnect{c}
	}
	ws, resp, err := websocket.Dial(ctx, c.url(path), &websocket.DialOptions{HTTPClient: &hc})
	if err != nil {
		if resp != nil && resp.Body != nil {
			body, _ := io.ReadAll(resp.Body)
			err = fmt.Errorf("%w: %s", err, body)
		}
		return nil, err
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, nil
}

// extendedConnect makes an extended CONNECT (RFC 8441, RFC 9220) of what a
// WebSocket library does to open a WebSocket, and its answer of the answer.
type extendedConnect struct{ c *client }

func (x extendedConnect) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.Header.Get("Sec-Websocket-Key")
	pipe, toServer := io.Pipe()
	// The stream outlives the call, and with it the context.
	ctx, cancel := context.WithCancel(context.WithoutCancel(req.Context()))
	stop := context.AfterFunc(req.Context(), cancel)
	defer stop()
	out := req.Clone(ctx)
	out.Method, out.Body, out.ContentLength = http.MethodConnect, pipe, -1
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		out.Header.Del(name)
	}
	if x.c.protocol == h3 {
		out.Proto = "websocket"
	} else {
		out.Header[":protocol"] = []string{"websocket"}
	}
	resp, err := x.c.Transport.RoundTrip(out)
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &connectStream{ReadCloser: resp.Body, out: toServer, cancel: cancel}
	if resp.StatusCode != http.StatusOK {
		return resp, nil
	}
	if accept := resp.Header.Get("Sec-Websocket-Accept"); accept != "" {
		cancel()
		return nil, fmt.Errorf("the answer to an extended CONNECT has Sec-WebSocket-Accept %q: there was no key (RFC 8441, section 5)", accept)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	resp.StatusCode = http.StatusSwitchingProtocols
	resp.Header.Set("Connection", "Upgrade")
	resp.Header.Set("Upgrade", "websocket")
	resp.Header.Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	return resp, nil
}

// connectStream is a stream that was opened by extended CONNECT.
type connectStream struct {
	io.ReadCloser
	out    *io.PipeWriter
	cancel context.CancelFunc
}

func (s *connectStream) Write(p []byte) (int, error) { return s.out.Write(p) }

func (s *connectStream) Close() error {
	s.cancel()
	return errors.Join(s.out.Close(), s.ReadCloser.Close())
}

// echoApp is an application that sends every message back, behind its name.
type echoApp struct {
	*app
	// ended has how each WebSocket ended, as the application saw it.
	ended chan error
}

func startEcho(t *testing.T, name string) *echoApp {
	t.Helper()
	e := &echoApp{ended: make(chan error, 4096)}
	e.app = startApp(t, func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		for {
			kind, message, err := ws.Read(t.Context())
			if err == nil {
				err = ws.Write(t.Context(), kind, append([]byte(name+" "), message...))
			}
			if err != nil {
				e.ended <- err
				return
			}
		}
	})
	return e
}

// echo sends a message and returns what comes back.
func echo(ws *websocket.Conn, message string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		// The reason is what can be read.
		if _, _, readErr := ws.Read(ctx); websocket.CloseStatus(readErr) != -1 {
			err = readErr
		}
		return "", err
	}
	_, got, err := ws.Read(ctx)
	return string(got), err
}

// talk echoes without a pause until the WebSocket ends, and returns when the last
// message came back, how many did, and how it ended: an answer that is wrong is an end,
// too.
func talk(ws *websocket.Conn, name string) (last time.Time, messages int, end error) {
	for {
		message := fmt.Sprint("message ", messages)
		got, err := echo(ws, message)
		if err != nil {
			return last, messages, err
		}
		if want := name + " " + message; got != want {
			return last, messages, fmt.Errorf("got %q instead of %q", got, want)
		}
		last = time.Now()
		messages++
	}
}

// wantGoingAway checks that an end was a close frame with 1001.
func wantGoingAway(t *testing.T, who string, end error) {
	t.Helper()
	if websocket.CloseStatus(end) != websocket.StatusGoingAway {
		t.Errorf("%s sees %v instead of a close frame with 1001", who, end)
	}
}
