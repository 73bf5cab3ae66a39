package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// collector gathers what it reads.
type collector struct {
	mu  sync.Mutex
	got []byte
	err error
}

func collect(r io.Reader) *collector {
	c := new(collector)
	go func() {
		p := make([]byte, 1000)
		for {
			n, err := r.Read(p)
			c.mu.Lock()
			c.got, c.err = append(c.got, p[:n]...), err
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

// result returns what has been read so far, and how it ended, if it did.
func (c *collector) result() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.got), c.err
}

// upgradedPair is an upgraded connection between a target and a client that both
// listen.
type upgradedPair struct {
	*tunnelConn
	target             net.Conn
	toClient, toTarget *collector
}

func newUpgradedPair(t *testing.T, websocket bool) *upgradedPair {
	target, conn := net.Pipe()
	t.Cleanup(func() { _, _ = target.Close(), conn.Close() })
	u := newTunnelConn(conn, conn, websocket, new(Traffic))
	return &upgradedPair{u, target, collect(u), collect(target)}
}

// wantBytes fails the test unless the collectors have got these bytes; a close
// frame, whose mask is random, is told by the word "close".
func (p *upgradedPair) wantBytes(t *testing.T, toClient, toTarget string) {
	t.Helper()
	synctest.Wait()
	describe := func(c *collector) string {
		b, _ := c.result()
		ends, closed := testkit.FrameEnds(b)
		if closed == 0 || closed != len(b) {
			return string(b)
		}
		start := 0
		if len(ends) > 1 {
			start = ends[len(ends)-2]
		}
		_, payload := testkit.ReadFrame(t, bytes.NewReader(b[start:]))
		masked := ""
		if b[start+1]&0x80 != 0 {
			masked = " masked"
		}
		return fmt.Sprintf("%s[close %d%s]", b[:start], binary.BigEndian.Uint16(payload), masked)
	}
	if got := describe(p.toClient); got != toClient {
		t.Errorf("the client has got %q, want %q", got, toClient)
	}
	if got := describe(p.toTarget); got != toTarget {
		t.Errorf("the target has got %q, want %q", got, toTarget)
	}
}

func TestIdleWebSocketIsClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newUpgradedPair(t, true)
		p.closePolitely()
		p.closePolitely() // once more is no more
		p.wantBytes(t, "[close 1001]", "[close 1001 masked]")
		// The client answers, and is not made to wait.
		start := time.Now()
		testkit.MustWrite(t, p, testkit.Frame(testkit.CloseOpcode, []byte{3, 233}, testkit.MaskKey...))
		p.wantBytes(t, "[close 1001]", "[close 1001 masked]")
		if _, err := p.toClient.result(); err != io.EOF || time.Since(start) != 0 {
			t.Errorf("ended with %v after %s, want EOF at once", err, time.Since(start))
		}
	})
}

func TestCloseWaitsForTheFrameInProgress(t *testing.T) {
	down := testkit.Frame(testkit.TextOpcode, []byte("from the app"))
	up := testkit.Frame(testkit.TextOpcode, []byte("from the client"), testkit.MaskKey...)
	next := testkit.Frame(testkit.TextOpcode, []byte("next"), testkit.MaskKey...)
	for cut := 1; cut < len(down); cut++ {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			testkit.MustWrite(t, p.target, down[:cut])
			testkit.MustWrite(t, p, up[:cut])
			p.wantBytes(t, string(down[:cut]), string(up[:cut]))
			p.closePolitely()
			p.wantBytes(t, string(down[:cut]), string(up[:cut]))
			time.Sleep(streamLinger / 2)
			// The rest comes, and the beginning of something that would be torn.
			testkit.MustWrite(t, p.target, append(bytes.Clone(down[cut:]), next[:1]...))
			testkit.MustWrite(t, p, append(bytes.Clone(up[cut:]), next[:3]...))
			p.wantBytes(t, string(down)+"[close 1001]", string(up)+"[close 1001 masked]")
			testkit.MustWrite(t, p, next[3:])
			p.wantBytes(t, string(down)+"[close 1001]", string(up)+"[close 1001 masked]")
			time.Sleep(streamLinger)
			synctest.Wait()
			if _, err := p.toClient.result(); err != io.EOF {
				t.Errorf("ended with %v, want EOF", err)
			}
		})
	}
}

// TestCloseLeavesATornFrameToTheCut which counts it, instead of ending the
// connection by itself as if it had been polite.
func TestCloseLeavesATornFrameToTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newUpgradedPair(t, true)
		half := testkit.Frame(testkit.TextOpcode, []byte("from the app"))[:5]
		testkit.MustWrite(t, p.target, half)
		synctest.Wait()
		p.closePolitely()
		time.Sleep(time.Minute)
		p.wantBytes(t, string(half), "[close 1001 masked]")
		if _, err := p.toClient.result(); err != nil {
			t.Errorf("ended with %v before it was cut", err)
		}
		p.cut()
		synctest.Wait()
		if _, err := p.toClient.result(); err == nil || err == io.EOF {
			t.Errorf("ended with %v: it looks complete", err)
		}
	})
}

func TestNobodyGetsASecondCloseFrame(t *testing.T) {
	bye := func(key ...byte) []byte { return testkit.Frame(testkit.CloseOpcode, []byte{3, 232}, key...) }
	t.Run("the app says goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			testkit.MustWrite(t, p.target, bye())
			synctest.Wait()
			p.closePolitely()
			p.wantBytes(t, "[close 1000]", "[close 1001 masked]")
			time.Sleep(streamLinger)
		})
	})
	t.Run("the client says goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			testkit.MustWrite(t, p, bye(testkit.MaskKey...))
			p.closePolitely()
			p.wantBytes(t, "[close 1001]", "[close 1000 masked]")
		})
	})
	// Half a goodbye that is held back is none.
	t.Run("the app begins to say goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			hello := testkit.Frame(testkit.TextOpcode, []byte("hello"))
			testkit.MustWrite(t, p.target, hello[:3])
			synctest.Wait()
			p.closePolitely()
			testkit.MustWrite(t, p.target, append(bytes.Clone(hello[3:]), bye()[:3]...))
			p.wantBytes(t, string(hello)+"[close 1001]", "[close 1001 masked]")
			time.Sleep(streamLinger)
		})
	})
	t.Run("the client begins to say goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			hello := testkit.Frame(testkit.TextOpcode, []byte("hello"), testkit.MaskKey...)
			testkit.MustWrite(t, p, hello[:3])
			p.closePolitely()
			testkit.MustWrite(t, p, append(bytes.Clone(hello[3:]), bye(testkit.MaskKey...)[:3]...))
			p.wantBytes(t, "[close 1001]", string(hello)+"[close 1001 masked]")
			testkit.MustWrite(t, p, bye(testkit.MaskKey...)[3:])
		})
	})
}

func TestUnknownProtocolIsMerelyClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newUpgradedPair(t, false)
		testkit.MustWrite(t, p.target, []byte("\x81\x05he"))
		testkit.MustWrite(t, p, []byte("\x81\x85he"))
		p.closePolitely()
		p.wantBytes(t, "\x81\x05he", "\x81\x85he")
		if _, err := p.toClient.result(); err != io.EOF {
			t.Errorf("ended with %v, want EOF", err)
		}
	})
}
