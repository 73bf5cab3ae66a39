package parsers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/valyala/fasthttp"

	"github.com/parachute-proxy/parachute/internal/http1"
	"github.com/parachute-proxy/parachute/internal/http1/corpus"
)

// reading is what a parser makes of the first request of a connection.
type reading struct {
	method, target, host, content string
	// size is where the next request begins.
	size int
}

func (r reading) String() string {
	return fmt.Sprintf("%q %q for %q with %q in %d bytes", r.method, r.target, r.host, r.content, r.size)
}

// errMore means that the request goes on behind the bytes that there are.
var errMore = errors.New("the request is not complete")

// ours is what we make of it.
func ours(b []byte) (reading, error) {
	var r http1.Request
	size, err := r.Parse(b)
	if err != nil {
		return reading{}, err
	}
	got := reading{string(r.Method), string(r.Target), string(r.Host), "", size}
	if !r.Chunked {
		length := int(min(max(r.ContentLength, 0), 1<<30))
		if len(b)-size < length {
			return reading{}, errMore
		}
		got.content, got.size = string(b[size:size+length]), size+length
		return got, nil
	}
	var chunks http1.Chunks
	for {
		data, n, err := chunks.Next(b[got.size:])
		got.content += string(data)
		got.size += n
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return got, err
		}
	}
}

// byFastHTTP is what fasthttp makes of it.
func byFastHTTP(b []byte) (reading, error) {
	var r fasthttp.Request
	from := bytes.NewReader(b)
	buffered := bufio.NewReaderSize(from, len(b)+16)
	if err := r.ReadLimitBody(buffered, 1<<20); err != nil {
		return reading{}, err
	}
	return reading{
		string(r.Header.Method()), string(r.Header.RequestURI()), string(r.Header.Host()), string(r.Body()),
		len(b) - from.Len() - buffered.Buffered(),
	}, nil
}

// byNBIO is what nbio makes of it, which gets the bytes one by one.
func byNBIO(b []byte) (reading, error) {
	p := &processor{}
	parser := nbhttp.NewParser(nil, engine, p, false, nil)
	for i := range b {
		if err := parser.Parse(b[i : i+1]); err != nil {
			return reading{}, err
		}
		if p.complete {
			p.size = i + 1
			return p.reading, nil
		}
	}
	return reading{}, errMore
}

var engine = nbhttp.NewEngine(nbhttp.Config{})

// processor is told by nbio what it finds.
type processor struct {
	nbhttp.EmptyProcessor
	reading
	complete bool
}

func (p *processor) OnMethod(_ *nbhttp.Parser, method string)    { p.method = method }
func (p *processor) OnURL(_ *nbhttp.Parser, target string) error { p.target = target; return nil }
func (p *processor) OnBody(_ *nbhttp.Parser, data []byte) error {
	p.content += string(data)
	return nil
}
func (p *processor) OnComplete(*nbhttp.Parser) { p.complete = true }
func (p *processor) OnHeader(_ *nbhttp.Parser, name, value string) {
	if strings.EqualFold(name, "Host") {
		p.host = strings.Trim(value, " \t") // nbio leaves some of it there; we do not send it on
	}
}

// others are the parsers that ours is held against.
var others = map[string]func([]byte) (reading, error){"fasthttp": byFastHTTP, "nbio": byNBIO}

// compare wants the others to refuse what we serve, or to understand the same. It returns who refuses.
func compare(t *testing.T, b []byte) (refusing []string) {
	want, err := ours(b)
	if err != nil {
		return nil
	}
	for name, parse := range others {
		got, err := parse(slices.Clone(b))
		if err != nil {
			refusing = append(refusing, name)
			continue
		}
		if name == "nbio" && strings.EqualFold(got.method, want.method) {
			got.method = want.method // which nbio does not tell apart, against RFC 9110, section 9.1
		}
		if got != want {
			t.Errorf("%q\nis to us    %s\nand to %s %s", b, want, name, got)
		}
	}
	slices.Sort(refusing)
	return refusing
}

// requests are the cases of the corpus, by name.
func requests() map[string]string {
	all := make(map[string]string)
	for _, c := range corpus.All() {
		all[c.Name] = c.Request
	}
	for _, c := range corpus.Chunks() {
		if all[c.Name] != "" {
			panic("two cases are " + c.Name)
		}
		all[c.Name] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + c.Body
	}
	return all
}

// refused are the requests that we serve and others do not, with the reasons.
var refused = map[string]string{
	"an empty line before":                       "nbio: RFC 9112, section 2.2, has servers skip it",
	"a target with scheme and host":              "nbio: RFC 9112, section 3.2.2, has servers accept it",
	"a target with scheme, host, port and query": "nbio: the same",
	"a method that is not known":                 "nbio: it knows a list of methods, and RFC 9110, section 9.1, leaves it open",
	`the body "0\r\nX-A: b\r\nX-C:\r\n\r\n"`:     "nbio: it wants trailers to be announced, which RFC 9110, section 6.6.2, does not",
}

// A request that we serve and an application behind us reads in another way can deceive one of the two.
func TestNobodyReadsAnotherRequestThanWeDo(t *testing.T) {
	for name, request := range requests() {
		who, reason := compare(t, []byte(request)), refused[name]
		if got := strings.Join(who, ","); got != strings.Split(reason, ":")[0] {
			t.Errorf("%s is refused by %q, where this is known: %q", name, got, reason)
		}
	}
}

// The corpus is of use as long as each of the others serves some of what it has to refuse.
func TestEachOtherParserServesSomeOfWhatWeRefuse(t *testing.T) {
	for name, parse := range others {
		count := 0
		for _, request := range requests() {
			if _, err := ours([]byte(request)); err == nil || errors.Is(err, http1.ErrIncomplete) {
				continue
			}
			if _, err := parse([]byte(request)); err == nil {
				count++
			}
		}
		if count == 0 {
			t.Errorf("%s serves nothing that we refuse", name)
		}
		t.Logf("%s serves %d requests of the corpus that we refuse", name, count)
	}
}

func FuzzNobodyReadsAnotherRequestThanWeDo(f *testing.F) {
	for _, request := range requests() {
		f.Add([]byte(request))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, b) })
}
