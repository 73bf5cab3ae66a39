package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.Buffer.Write(p) }

func (r *recorder) Read([]byte) (int, error) { return 0, io.EOF }

// Wherever a server is in what it writes, the frame comes between two others, never before
// the first one, which has to be SETTINGS, and never inside the head of an answer.
func TestGoAwayComesBetweenFrames(t *testing.T) {
	var all bytes.Buffer
	fr := http2.NewFramer(&all, nil)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
	_ = fr.WriteSettingsAck()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: make([]byte, 20)})
	_ = fr.WriteContinuation(1, false, make([]byte, 20))
	_ = fr.WriteContinuation(1, true, make([]byte, 20))
	_ = fr.WriteData(1, false, make([]byte, 300))
	_ = fr.WriteData(1, true, nil)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: make([]byte, 20), EndHeaders: true, EndStream: true})
	_ = fr.WritePing(false, [8]byte{})
	whole := all.Bytes()

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for at := 0; at <= len(whole); at++ {
		for _, size := range []int{1, 1 + random.IntN(40), len(whole)} {
			r := new(recorder)
			c := &h2Conn{Conn: r}
			for i := 0; i < len(whole); {
				n := min(size, len(whole)-i)
				if i < at && i+n > at {
					n = at - i
				}
				if i == at {
					c.goAway()
				}
				if written, err := c.Write(whole[i : i+n]); err != nil || written != n {
					t.Fatalf("%d of %d bytes are written: %v", written, n, err)
				}
				i += n
			}
			c.goAway() // for at == len(whole); else nothing
			told, rest := readGoAway(t, r.Bytes())
			if told != 1 || !bytes.Equal(rest, whole) {
				t.Fatalf("told at %d, by writes of %d bytes: %d frames", at, size, told)
			}
		}
	}
}

// readGoAway reads frames, in the order that is allowed, and returns how many ask to leave,
// and the others.
func readGoAway(t *testing.T, b []byte) (told int, rest []byte) {
	t.Helper()
	var others bytes.Buffer
	in := bytes.NewReader(b)
	fr := http2.NewFramer(nil, in)
	for first := true; ; first = false {
		before := len(b) - in.Len()
		f, err := fr.ReadFrame()
		if errors.Is(err, io.EOF) {
			return told, others.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if first || g.LastStreamID != 1<<31-1 || g.ErrCode != http2.ErrCodeNo {
				t.Fatalf("the frame is %v, first: %t", g, first)
			}
			told++
			continue
		}
		others.Write(b[before : len(b)-in.Len()])
	}
}

// A client that has been told to leave may have sent a request by then, or may be about to.
// It is served.
func TestRequestsThatCrossWithGoAwayAreServed(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			s := newSite(t)
			if secure {
				s.tls = testTLS(t)
			}
			first := s.start(answer("first"))
			conn, err := net.Dial("tcp", first.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if secure {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			}
			c := newRawH2(t, conn)
			c.request(1)
			c.expect(1)
			first.stop(t)
			if g := c.read(func(f http2.Frame) bool { return f.Header().Type == http2.FrameGoAway }).(*http2.GoAwayFrame); g.LastStreamID != 1<<31-1 {
				t.Errorf("the first GOAWAY refuses what is after stream %d", g.LastStreamID)
			}
			c.request(3)
			c.expect(3)
			if g := c.read(func(f http2.Frame) bool { return f.Header().Type == http2.FrameGoAway }).(*http2.GoAwayFrame); g.LastStreamID != 3 || g.ErrCode != http2.ErrCodeNo {
				t.Errorf("the second GOAWAY is %v", g)
			}
			c.read(nil) // the end
		})
	}
}

// The edge reads the beginning of all connections, and may find only while its server ends that one
// is for HTTP/2.
func TestHTTP2ThatBeginsWhileItsServerEndsIsServed(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			s := newSite(t)
			s.fronts.atOnce = true
			if secure {
				s.tls = testTLS(t)
			}
			first := s.start(answer("first"), func(_ *http.Server, w *Wrapper) { w.Edge = true })
			at := first.entryOf(t).server.Load()
			conn := dial(t, first.listener)
			_ = conn.SetDeadline(time.Now().Add(patience))
			for end := time.Now().Add(patience); at.conns.count() == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the connection is not accepted")
				}
			}
			first.stop(t)
			select {
			case <-at.queue.closed:
				t.Error("nobody would serve HTTP/2")
			case <-time.After(100 * time.Millisecond):
			}
			if secure {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			}
			c := newRawH2(t, conn)
			c.request(1)
			c.expect(1)
			c.read(nil) // the end
		})
	}
}

// rawH2 is a client that follows no advice.
type rawH2 struct {
	t *testing.T
	*http2.Framer
	net.Conn
}

func newRawH2(t *testing.T, conn net.Conn) *rawH2 {
	t.Helper()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &rawH2{t, http2.NewFramer(conn, conn), conn}
	_ = c.WriteSettings()
	return c
}

func (c *rawH2) request(stream uint32) {
	c.t.Helper()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
	if err := c.WriteData(stream, true, []byte("hi")); err != nil {
		c.t.Fatal(err)
	}
}

// expect waits for the answer on a stream.
func (c *rawH2) expect(stream uint32) {
	c.t.Helper()
	c.read(func(f http2.Frame) bool {
		return f.Header().StreamID == stream && f.Header().Type == http2.FrameData && f.Header().Flags.Has(http2.FlagDataEndStream)
	})
}

// read reads up to a frame, or to the end of the connection if wanted is nil.
func (c *rawH2) read(wanted func(http2.Frame) bool) http2.Frame {
	c.t.Helper()
	for {
		f, err := c.ReadFrame()
		if wanted == nil && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if wanted != nil && wanted(f) {
			return f
		}
	}
}
