package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// A script says what a target sends, in answer to one request after the other. The
// scripts for two requests are separated by nextRequest.
const (
	nextRequest = 0x00
	// pieceEnds is where one write ends and the next begins.
	pieceEnds = 0x01
	// answerRead is where the target waits until the client has read its answer.
	// What follows comes too late.
	answerRead = 0x02
	// mark and the 15 bytes after it stand for a byte that says whose answer it is
	// in. The last of them is poison: it says that nobody has asked for it.
	mark   = 0xa0
	poison = mark + 15
)

// story is a client that sends requests one by one, and a target that answers by
// the script.
type story struct {
	t       *testing.T
	g       *target
	tr      *Transport
	scripts [][]byte
	methods uint64

	// mu guards what follows.
	mu sync.Mutex
	// idle is signalled when the target has nothing more to send for now.
	idle *sync.Cond
	busy int
	// read is closed when the client is through with a request.
	read map[int]chan struct{}
}

// part is what the target sends in answer to a request: at once, in pieces, and when
// the client has read it.
type part struct {
	pieces [][]byte
	late   []byte
	// last says that the target closes the connection then.
	last bool
	// want is what the client has to make of it, and is nil if it has to fail.
	want *answer
}

// method returns the method of a request and its body.
func (s *story) method(id int) (string, string) {
	switch s.methods >> (2 * id) & 3 {
	case 0:
		return http.MethodHead, ""
	case 1:
		return http.MethodPost, strings.Repeat("body", 10)
	case 2:
		return http.MethodPost, ""
	}
	return http.MethodGet, ""
}

// part returns what is sent in answer to a request.
func (s *story) part(id int) part {
	now, late, _ := bytes.Cut(s.scripts[id], []byte{answerRead})
	stain := func(b []byte, with byte) {
		for i, c := range b {
			if c >= mark && c <= poison {
				b[i] = with
			}
		}
	}
	pieces := bytes.Split(bytes.Clone(now), []byte{pieceEnds})
	whole := bytes.Join(pieces, nil)
	method, _ := s.method(id)
	p := part{pieces: pieces, late: bytes.Clone(late)}
	stain(p.late, poison)
	stain(whole, mark+byte(id))
	theirs, resp, err := readTheirs(method, whole)
	if err == nil {
		p.want = &theirs
		stain(whole[theirs.consumed:], poison)
	}
	p.last = err != nil || resp.Close || resp.StatusCode == http.StatusSwitchingProtocols
	if p.last {
		// Nobody waits for what comes late.
		whole = append(whole, p.late...)
		p.late = nil
		stain(whole, mark+byte(id))
		if theirs, _, err = readTheirs(method, whole); err == nil {
			p.want = &theirs
		}
		p.pieces = append(p.pieces, nil)
	}
	for i, piece := range p.pieces {
		n := len(piece)
		if i == len(p.pieces)-1 {
			n = len(whole)
		}
		p.pieces[i], whole = whole[:n], whole[n:]
	}
	return p
}

// serve answers on one connection.
func (s *story) serve(c *peer) {
	defer c.Close()
	for {
		req, err := http.ReadRequest(c.r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		var id int
		if _, err := fmt.Sscan(req.Header.Get("X-Id"), &id); err != nil {
			s.t.Errorf("a request without an id: %v", req.Header)
			return
		}
		if method, want := s.method(id); req.Method != method || string(body) != want {
			s.t.Errorf("request %d is %s %q, want %s %q", id, req.Method, body, method, want)
		}
		if !s.answer(c, id) {
			return
		}
	}
}

// answer answers a request and reports whether the connection stays open.
func (s *story) answer(c *peer, id int) bool {
	s.mu.Lock()
	s.busy++
	read := s.read[id]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy--
		s.idle.Broadcast()
	}()
	p := s.part(id)
	for _, piece := range p.pieces {
		if _, err := c.Write(piece); err != nil {
			return false
		}
	}
	if p.last {
		_ = c.Close() // before anybody hears that we are done
		return false
	}
	<-read
	_, err := c.Write(p.late)
	return err == nil
}

// tell carries out the story and fails the test if a client gets anything but the
// answer to its own request.
func (s *story) tell() {
	s.idle = sync.NewCond(&s.mu)
	s.read = make(map[int]chan struct{})
	for id := range s.scripts {
		s.read[id] = make(chan struct{})
	}
	var serving sync.WaitGroup
	over := make(chan struct{})
	serving.Go(func() {
		for {
			select {
			case c := <-s.g.accepted:
				serving.Go(func() { s.serve(c) })
			case <-over:
				return
			}
		}
	})
	for id := range s.scripts {
		s.exchange(id)
		close(s.read[id])
		s.mu.Lock()
		for s.busy > 0 {
			s.idle.Wait()
		}
		s.mu.Unlock()
	}
	if stats := s.tr.Stats(); stats.Open != stats.Idle {
		s.t.Errorf("%+v when all is over", stats)
	}
	s.tr.Close()
	close(over)
	serving.Wait()
}

func (s *story) exchange(id int) {
	ctx, cancel := context.WithTimeout(s.t.Context(), testTimeout)
	defer cancel()
	method, body := s.method(id)
	req := request(s.t, method, strings.NewReader(body)).WithContext(ctx)
	req.ContentLength = int64(len(body))
	if body == "" {
		req.Body = nil
	}
	req.Header.Set("X-Id", fmt.Sprint(id))
	resp, err := s.tr.RoundTrip(req)
	if ctx.Err() != nil {
		s.t.Fatalf("request %d: there is no end to waiting for %q", id, s.scripts[id])
	}
	if err != nil {
		return
	}
	defer resp.Body.Close()
	got := answer{status: resp.StatusCode, reason: resp.Status, header: resp.Header}
	if _, upgraded := resp.Body.(*Switched); !upgraded {
		b, err := io.ReadAll(resp.Body)
		if ctx.Err() != nil {
			s.t.Fatalf("request %d: there is no end to %q", id, s.scripts[id])
		}
		if err != nil {
			return
		}
		got.body, got.trailer = string(b), resp.Trailer
	}
	if spaceBeforeColon.Match(s.scripts[id]) {
		return // net/http leaves a space in the name, and refuses a tab
	}
	want := s.part(id).want
	if want == nil {
		s.t.Fatalf("request %d: %q is taken for %+v", id, s.scripts[id], got)
	}
	if pragma := got.header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && got.header["Cache-Control"] == nil {
		delete(want.header, "Cache-Control") // which net/http makes up
	}
	want.consumed = 0
	equalToTheirs(s.t, fmt.Sprintf("in answer to request %d", id), got, *want)
}

// runStory checks that every client gets the answer to its own request, or none.
func runStory(t *testing.T, network string, data []byte, methods uint64) {
	t.Helper()
	scripts := bytes.Split(data, []byte{nextRequest})
	if len(scripts) > 8 || len(data) > 4<<10 {
		return
	}
	g := startTarget(t, network)
	s := &story{t: t, g: g, tr: g.transport(), scripts: scripts, methods: methods}
	s.tell()
	if t.Failed() {
		t.Fatalf("methods %d: %q", methods, data)
	}
}

// stories are scripts from which a fuzzer can begin, in a form that can be read.
var stories = []string{
	"HTTP/1.1 200 OK\r\nX: %\r\nContent-Length: 3\r\n\r\n%%%/HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%%%/HTTP/1.1 204 No\r\nX: %\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%%%HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%%%/HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%%%",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%%%<HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%%%/HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%%%",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%%%\r\n|0\r\n\r\n|HTTP/1.1 200 OK\r\nX: %\r\nContent-Length: 0\r\n\r\n/HTTP/1.1 200 OK\r\n\r\n%",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n3\r\n%%%\r\n0\r\n\r\n/HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%",
	"HTTP/1.1 103 Hints\r\nX: %\r\n\r\n|HTTP/1.1 304 OK\r\nContent-Length: 3\r\n\r\n|%%%/HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%/HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%<%/HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n%/%",
	"//HTTP/1.1 408 Timeout\r\nX: %\r\nContent-Length: 0\r\n\r\n<HTTP/1.1 408 Timeout\r\nX: %\r\nContent-Length: 0\r\n\r\n/HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%",
	"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n%%/HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%",
	"HTTP/1.1 200 OK\r\nX\t: %\r\nContent-Length: 3\r\n\r\n%%%/HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%",
	"HTTP/1.1 101 Up\r\nContent-Length:\r\n\r\n/HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: %\r\nContent-Length: 0\r\n\r\n<\r\n/HTTP/1.1 200 OK\r\nX: %\r\nContent-Length: 0\r\n\r\n",
}

func storyOf(s string) []byte {
	b := []byte(strings.NewReplacer("/1.1", "\xfe", "/", "\x00", "|", "\x01", "<", "\x02").Replace(s))
	b = bytes.ReplaceAll(b, []byte("%"), []byte{mark})
	return bytes.ReplaceAll(b, []byte{0xfe}, []byte("/1.1"))
}

// FuzzReuse looks for a way in which what a target sends reaches the wrong client.
func FuzzReuse(f *testing.F) {
	for i, s := range stories {
		f.Add(storyOf(s), uint64(0xffff))
		f.Add(storyOf(s), uint64(i*0x1b2d))
	}
	f.Fuzz(func(t *testing.T, data []byte, methods uint64) { runStory(t, "unix", data, methods) })
}

// TestAnswersReachTheirOwnClients puts stories together from parts, most of which
// are plain.
func TestAnswersReachTheirOwnClients(t *testing.T) {
	t.Parallel()
	rnd := testkit.NewRand(t)
	var parts [][]byte
	for _, s := range stories {
		parts = append(parts, bytes.Split(storyOf(s), []byte{nextRequest})...)
	}
	for range 150 {
		var all [][]byte
		for range 2 + rnd.IntN(6) {
			p := bytes.Clone(parts[rnd.IntN(len(parts))])
			switch i := rnd.IntN(len(p) + 1); rnd.IntN(8) {
			case 0:
				p = append(p[:i:i], append([]byte{pieceEnds}, p[i:]...)...)
			case 1:
				p = append(p[:i:i], append([]byte{answerRead}, p[i:]...)...)
			case 2:
				p = p[:i]
			case 3:
				p = append(p, parts[rnd.IntN(len(parts))]...)
			}
			all = append(all, p)
		}
		network := []string{"tcp", "unix"}[rnd.IntN(2)]
		t.Run("", func(t *testing.T) {
			runStory(t, network, bytes.Join(all, []byte{nextRequest}), rnd.Uint64()|rnd.Uint64())
		})
	}
}
