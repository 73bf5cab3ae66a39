package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

func TestResponseIsTakenAsItWasSent(t *testing.T) {
	head := "HTTP/1.1 200 Fine, really\r\nx-lower:  a b \r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\nEmpty:\r\nContent-Length: 12\r\nConnection: Keep-Alive\r\n\r\n"
	var r Response
	for n := range len(head) {
		if size, ok := r.Parse([]byte(head[:n])); size != 0 || !ok {
			t.Fatalf("of %d bytes: %d %t", n, size, ok)
		}
	}
	size, ok := r.Parse([]byte(head + "the body"))
	if size != len(head) || !ok || r.Status != 200 || r.ContentLength != 12 || r.Close {
		t.Fatalf("%d %t %+v", size, ok, r)
	}
	var fields []string
	for _, f := range r.Fields {
		fields = append(fields, string(f.Name)+"="+string(f.Value))
	}
	if got, want := strings.Join(fields, ";"), "x-lower=a b;Set-Cookie=a=1;SET-COOKIE=b=2;Empty=;Content-Length=12;Connection=Keep-Alive"; got != want {
		t.Errorf("the fields are %q, want %q", got, want)
	}
}

func TestResponseThatNeedsMoreIsLeftToOthers(t *testing.T) {
	for _, head := range []string{
		"HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/2 200\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 600 Odd\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 200 O\x00K\r\n\r\n",
		"HTTP/1.1 200 OK\n\n",
		"HTTP/1.1 200 OK\r\nA: b\n\r\n",
		"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTrailer: A\r\n\r\n",
		"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close, A\r\n\r\n",
	} {
		if size, ok := new(Response).Parse([]byte(head)); ok {
			t.Errorf("%q is taken, with %d bytes", head, size)
		}
	}
}

// FuzzResponse holds what is taken against net/http.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 304\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 \r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Response
		size, ok := r.Parse(b)
		if !ok || size == 0 {
			return
		}
		reader := bufio.NewReaderSize(bytes.NewReader(b[:size]), 64<<10)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		if reader.Buffered() > 0 || resp.StatusCode != r.Status || (len(resp.TransferEncoding) > 0) != r.Chunked || len(resp.Trailer) > 0 {
			t.Fatalf("net/http has %+v, with %d bytes left", resp, reader.Buffered())
		}
		fields := make(http.Header)
		for _, f := range r.Fields {
			fields.Add(string(f.Name), string(f.Value))
		}
		for name := range fields {
			if got := resp.Header.Values(name); name != "Content-Length" && name != "Connection" && name != "Transfer-Encoding" && strings.Join(got, "\n") != strings.Join(fields.Values(name), "\n") {
				t.Fatalf("%s is %q, and with net/http %q", name, fields.Values(name), got)
			}
		}
	})
}
