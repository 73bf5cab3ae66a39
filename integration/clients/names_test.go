package clients

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// Names with an underscore or a dot reach the app, except where the app could take the
// field for another one.
func TestOddHeaderNamesReachTheApp(t *testing.T) {
	t.Parallel()
	sent := []field{
		{"x-amz-meta-user_id", "1"},
		{"X-Amz-Meta-File.Name", "2"},
		{"a_b.c", "3"},
		{"twice_the_same", "4"},
		{"twice_the_same", "5"},
		{"Session_id", "6"},
		// The proxy sets or removes these, or the connection is what they are about.
		{"X_Forwarded_Proto", "evil"},
		{"x.forwarded.for", "evil"},
		{"X-Forwarded_Host", "evil"},
		{"X_Real.Ip", "evil"},
		{"X_Request_Id", "evil"},
		{"X_Request_Start", "evil"},
		{"Transfer_Encoding", "evil"},
		{"Content_Length", "evil"},
		{"Proxy_Connection", "evil"},
		{"Keep.Alive", "evil"},
		{"Sec_WebSocket_Key", "evil"},
		// The request has these.
		{"X-User", "7"},
		{"x_user", "no dash, another field"},
		{"X-My-User", "8"},
		{"X_My_User", "evil"},
		{"X-My.User", "evil"},
	}
	want := []string{
		"A_b.c: 3", "Session_id: 6", "Twice_the_same: 4", "Twice_the_same: 5", "X-Amz-Meta-File.name: 2", "X-Amz-Meta-User_id: 1", "X-My-User: 8",
		"X-User: 7",
	}
	for name, tt := range map[string]struct {
		flags []string
		all   bool
	}{
		"kept":                       {all: true},
		"kept, with trusted proxies": {[]string{"--trusted-proxies=127.0.0.0/8"}, true},
		"kept, with a log":           {[]string{"--access-log"}, true}, // without the fast path
		"dropped":                    {[]string{"--drop-odd-header-names"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil, tt.flags...)
			eachProtocol(t, func(t *testing.T, protocol string) {
				got := make(chan []string, 1)
				a := startRawApp(t, serveRaw(func(r *rawRequest) string {
					if strings.HasPrefix(r.path(), "/up") {
						return ok("")
					}
					got <- slices.Clone(r.headers)
					return ok("")
				}))
				x := newSite(t, s, a.addr)
				for _, dial := range []func(*testing.T, string) wire{x.dialNewWire, x.dialWire} {
					w := dial(t, protocol)
					fields := slices.Clone(sent)
					if protocol != h1 {
						for i := range fields {
							fields[i].name = strings.ToLower(fields[i].name)
						}
					}
					w.begin("GET", "/x", false, fields...)
					if answer := w.answer(); answer.status != 200 {
						t.Fatal(answer)
					}
					lines := slices.DeleteFunc(arrive(t, "the request", got), func(line string) bool {
						for _, usual := range []string{"Host:", "X-Forwarded-For:", "X-Forwarded-Host:", "X-Forwarded-Proto:", "X-Request-Id:", "X-Request-Start:"} {
							if strings.HasPrefix(line, usual) {
								return true
							}
						}
						return false
					})
					slices.Sort(lines)
					want := want
					if !tt.all {
						want = []string{"X-My-User: 8", "X-User: 7"}
					}
					if !slices.Equal(lines, want) {
						t.Errorf("the app was sent\n%q, want\n%q", lines, want)
					}
				}
			})
		})
	}
}

// There are programs that know only the spelling of RFC 6455.
func TestWebSocketFieldsKeepTheirSpelling(t *testing.T) {
	t.Parallel()
	got := make(chan []string, 8)
	a := startRawApp(t, func(c *rawConn) {
		r, err := c.nextHead()
		if err != nil {
			return
		}
		if strings.HasPrefix(r.path(), "/up") {
			c.write(ok(""))
			return
		}
		got <- r.headers
		if r.path() == "/refused" {
			c.write("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n")
			return
		}
		chat := ""
		if r.header("Sec-WebSocket-Protocol") != nil {
			chat = "Sec-WebSocket-Protocol: chat\r\n"
		}
		c.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
			testkit.WebSocketAccept(r.header("Sec-WebSocket-Key")[0]) + "\r\n" + chat + "\r\n")
	})
	x := newSite(t, plain.Get(t), a.addr)
	for _, path := range []string{"/", "/refused"} {
		conn, err := net.Dial("tcp", x.Addr())
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n", path, x.host)
		sent := strings.Join(arrive(t, "the request", got), "\n")
		for _, line := range []string{"Sec-WebSocket-Key: dGhl", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: chat"} {
			if !strings.Contains(sent, line) {
				t.Errorf("%s: the app was sent %q", path, sent)
			}
		}
		answer, err := io.ReadAll(conn)
		must(t, err)
		want := "\r\nSec-WebSocket-Accept: "
		if path == "/refused" {
			want = "\r\nSec-WebSocket-Version: 13"
		}
		if !strings.Contains(string(answer), want) || strings.Contains(string(answer), "Websocket-") {
			t.Errorf("%s: the client got %q", path, answer)
		}
	}
	// Over HTTP/2 and HTTP/3, the proxy makes up the key.
	eachProtocol(t, func(t *testing.T, protocol string) {
		if protocol == h1 {
			return
		}
		c := x.client(t, protocol)
		ws, err := c.dialWebSocket(t, "/")
		must(t, err)
		defer ws.CloseNow()
		if sent := strings.Join(arrive(t, "the request", got), "\n"); !strings.Contains(sent, "Sec-WebSocket-Key: ") || !strings.Contains(sent, "Sec-WebSocket-Version: 13") || strings.Contains(sent, "Websocket-") {
			t.Errorf("the app was sent %q", sent)
		}
	})
}
