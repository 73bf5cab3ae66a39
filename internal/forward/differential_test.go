package forward

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
	"github.com/parachute-proxy/parachute/internal/transport"
)

var differentialSeed = flag.Uint64("differential.seed", 1, "seed of TestForwarderAgreesWithReverseProxy; 0 for a random one")

// passage is what an exchange came to at both of its ends.
type passage struct {
	app    *arrival // nil if nothing came to its end there
	client departure
	// failed is the error for which the proxy answered by itself.
	failed string
}

// side is a proxy with an app of its own behind it.
type side struct {
	app     *recorder
	address string
	// forget, if not nil, has the proxy forget its connections to the app.
	forget func()
}

// serveFront puts handler behind a server, and something before it that sets header
// fields, as Caddy does.
func serveFront(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	front := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "front")
		w.Header().Set("Alt-Svc", "front")
		handler(w, r)
	})}
	go func() { _ = front.Serve(l) }()
	t.Cleanup(func() { _ = front.Close() })
	return l.Addr().String()
}

// fail answers for a proxy that has no answer.
func fails(w http.ResponseWriter, err error) {
	clear(w.Header())
	w.Header().Set("X-Failed", err.Error())
	status := http.StatusBadGateway
	switch {
	case errors.Is(err, ErrBadRequest):
		status = http.StatusBadRequest
	case errors.Is(err, ErrClientGone):
		status = 499 // as nginx logs it
	}
	w.WriteHeader(status)
}

// startOurs returns our forwarder.
func startOurs(t testing.TB, samples []sample) side {
	app := startRecorderOf(t, samples)
	s, err := api.DeployRequest{Service: "app", Targets: []string{app.address}}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	release := newTestForwarder().NewRelease(s)
	t.Cleanup(release.Close)
	return side{app: app, address: serveFront(t, func(w http.ResponseWriter, r *http.Request) {
		release.Acquire()
		err := release.Forward(w, r, "/", Sender{})
		switch {
		case errors.Is(err, ErrBrokenOff):
			panic(http.ErrAbortHandler)
		case err != nil:
			fails(w, err)
		}
	})}
}

// startTheirs returns the standard library's, set up for what ours promises: paths
// and queries are kept, and what a client says about others is replaced.
func startTheirs(t testing.TB, samples []sample) side {
	app := startRecorderOf(t, samples)
	tr := newHTTPTransport(api.Target{Scheme: "http", Address: app.address}, func(context.Context) (net.Conn, error) {
		return net.Dial("tcp", app.address)
	}, nil)
	t.Cleanup(tr.CloseIdleConnections)
	type bodyKey struct{}
	reverse := &httputil.ReverseProxy{
		Transport: tr, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(pr *httputil.ProxyRequest) {
			out, in := pr.Out, pr.In
			out.URL.RawQuery, out.Trailer, out.Host = in.URL.RawQuery, in.Trailer, in.Host
			out.URL.Scheme, out.URL.Host = "http", app.address
			if raw := RawPath(out.URL); raw != out.URL.EscapedPath() && !strings.HasPrefix(raw, "//") {
				out.URL.Opaque = raw
			}
			maps.DeleteFunc(out.Header, func(name string, _ []string) bool { return speaksForOthers(name) })
			peer, _, _ := net.SplitHostPort(in.RemoteAddr)
			for name, value := range map[string]string{
				"X-Forwarded-For": peer, "X-Forwarded-Host": in.Host, "X-Forwarded-Proto": "http", "X-Request-Start": "t=0", "X-Request-Id": "made up",
			} {
				if out.Header.Get(name) == "" {
					out.Header.Set(name, value)
				}
			}
			if !transport.Idempotent(in.Method) {
				hideIdempotencyKeys(out.Header)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			kind := ErrBadGateway
			if failed, ok := r.Context().Value(bodyKey{}).(*atomic.Bool); ok && failed.Load() {
				kind = ErrBadRequest
			}
			fails(w, wrap(kind, err))
		},
	}
	// It sends requests that must not be repeated into connections that end.
	return side{app: app, forget: tr.CloseIdleConnections, address: serveFront(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(upgradeType(r.Header), "h2c") {
			for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
				r.Header.Del(name)
			}
		}
		if r.ContentLength != 0 {
			failed := new(atomic.Bool)
			r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, failed))
			r.Body = &failureWatcher{r.Body, failed}
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		reverse.ServeHTTP(w, r)
	})}
}

// failureWatcher notes that a body could not be read.
type failureWatcher struct {
	io.ReadCloser
	failed *atomic.Bool
}

func (f *failureWatcher) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		f.failed.Store(true)
	}
	return n, err
}

// exchange carries out the exchange of a sample.
func (s side) exchange(i int) (passage, error) {
	d, err := ask(s.address, s.app.samples[i])
	if s.forget != nil {
		s.forget()
	}
	o := passage{app: s.app.arrived(i), client: d}
	if values := d.header["X-Failed"]; len(values) > 0 {
		o.failed = values[0]
		delete(d.header, "X-Failed")
	}
	return o, err
}

// TestForwarderAgreesWithReverseProxy sends the same requests through our forwarder
// and through the standard library's, and gives them the same answers. What arrives
// at the app and at the client is the same, but for the differences that we argue
// for.
func TestForwarderAgreesWithReverseProxy(t *testing.T) {
	t.Parallel()
	seed := *differentialSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-differential.seed=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	samples := make([]sample, 600)
	for i := range samples {
		samples[i] = newSample(rnd, i)
	}
	sides := []side{startOurs(t, samples), startTheirs(t, samples)}
	passages := make([][2]passage, len(samples))
	var all sync.WaitGroup
	for n, s := range sides {
		all.Go(func() {
			for i := range samples {
				var err error
				if passages[i][n], err = s.exchange(i); err != nil {
					t.Errorf("side %d, sample %d: %v\n%s", n, i, err, samples[i])
					return
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	uses := make([]int, len(differences))
	for i, o := range passages {
		ours, theirs := normal(samples[i], o[0]), normal(samples[i], o[1])
		for n, d := range differences {
			if before := unlike(ours, theirs); before != "" && d.applies(&samples[i], &ours, &theirs) {
				if d.allow(&ours, &theirs); unlike(ours, theirs) != before {
					uses[n]++
				}
			}
		}
		if d := unlike(ours, theirs); d != "" {
			t.Errorf("sample %d: %s\n%sours failed with %.100q, theirs with %.100q", i, samples[i], d, ours.failed, theirs.failed)
		}
	}
	for n, d := range differences {
		t.Logf("%3d times: %s", uses[n], d.because)
	}
}

// normal returns o without what is random by nature.
func normal(s sample, o passage) passage {
	if o.app != nil {
		app := *o.app
		app.fields = maps.Clone(app.fields)
		for _, name := range []string{"X-Request-Start", "X-Request-Id"} {
			values := app.fields[name]
			if len(values) == 1 && values[0] != "t=1" && values[0] != "given" && len(values[0]) > 2 {
				app.fields[name] = []string{"made up"}
			}
		}
		app.fields["Trailer"] = elements(app.fields["Trailer"])
		app.trailer = withoutEmpty(app.trailer)
		app.times = min(app.times, 1)
		if o.app = &app; app.broken {
			o.app = nil // how much of it came is a matter of time
		}
	}
	if o.failed != "" {
		o.client = departure{status: o.client.status}
	}
	if o.client.torn {
		o.client = departure{torn: true} // the same goes for the answer
	}
	o.client.trailer = withoutEmpty(o.client.trailer)
	o.client.header = maps.Clone(o.client.header)
	if o.client.header["Trailer"] != nil {
		o.client.header["Trailer"] = elements(o.client.header["Trailer"])
	}
	if date := o.client.header["Date"]; len(date) == 1 && !strings.Contains(s.answer, date[0]) {
		delete(o.client.header, "Date")
	}
	return o
}

// elements returns the sorted elements of lists.
func elements(lists []string) (all []string) {
	for _, list := range lists {
		for element := range strings.SplitSeq(list, ",") {
			all = append(all, strings.TrimSpace(element))
		}
	}
	slices.Sort(all)
	return all
}

// withoutEmpty returns the fields that have values.
func withoutEmpty(h http.Header) http.Header {
	h = maps.Clone(h)
	maps.DeleteFunc(h, func(_ string, values []string) bool { return len(values) == 0 })
	return h
}

// aspects returns o in parts that can be compared and read.
func (o passage) aspects() []string {
	shorten := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return fmt.Sprintf("%d bytes %.40q %x", len(s), s, sum[:4])
	}
	all := []string{"failed " + fmt.Sprint(o.failed != "")}
	if o.app == nil {
		all = append(all, "app nothing", "", "", "", "")
	} else {
		all = append(all, fmt.Sprintf("app %q", o.app.line), fmt.Sprintf("app header %q", withoutEmpty(o.app.fields)), "app body "+shorten(o.app.body),
			"app framing "+o.app.framing, fmt.Sprintf("app trailer %q", o.app.trailer))
	}
	c := o.client
	return append(all, fmt.Sprintf("client %d", c.status), fmt.Sprintf("client informational %q", c.informational), fmt.Sprintf("client header %q", withoutEmpty(c.header)),
		"client body "+shorten(c.body), fmt.Sprintf("client trailer %q", c.trailer), fmt.Sprintf("client torn %v", c.torn), fmt.Sprintf("client closes %v", c.closes),
		"client echo "+c.echo)
}

// unlike returns in what a and b differ.
func unlike(a, b passage) string {
	var all strings.Builder
	theirs := b.aspects()
	for i, ours := range a.aspects() {
		if ours != theirs[i] {
			fmt.Fprintf(&all, "  ours:   %.700s\n  theirs: %.700s\n", ours, theirs[i])
		}
	}
	return all.String()
}
