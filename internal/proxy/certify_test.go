package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// fakeCertifier is a [Certifier] that issues at once, unless a test wants otherwise.
type fakeCertifier struct {
	// certify, if set, is called before a certificate is issued, and fails it.
	certify func(ctx context.Context, host string) error
	check   func(host string) error

	// mu guards what follows.
	mu     sync.Mutex
	issued map[string]api.Issuer
	kept   map[string]bool
	// forgotten are the hosts that Forget was called for.
	forgotten map[string]bool
}

func newFakeCertifier() *fakeCertifier {
	return &fakeCertifier{issued: make(map[string]api.Issuer), kept: make(map[string]bool), forgotten: make(map[string]bool)}
}

func withCertifier(c Certifier) func(*EngineOptions) {
	return func(o *EngineOptions) { o.Certifier = c }
}

func (c *fakeCertifier) Check(host string, _ api.Issuer) error {
	if c.check != nil {
		return c.check(host)
	}
	return nil
}

func (c *fakeCertifier) Certify(ctx context.Context, host string, issuer api.Issuer) (api.Certificate, error) {
	if c.certify != nil {
		if err := c.certify(ctx, host); err != nil {
			return api.Certificate{}, err
		}
	}
	c.mu.Lock()
	c.issued[host] = issuer
	c.mu.Unlock()
	return c.Certificate(host, issuer), nil
}

func (c *fakeCertifier) Keep(host string, issuer api.Issuer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[host+" "+string(issuer)] = true
}

func (c *fakeCertifier) Forget(host string, issuer api.Issuer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, host+" "+string(issuer))
	c.forgotten[host] = true
}

func (c *fakeCertifier) HasCertificate(host string, issuer api.Issuer) bool {
	return c.Certificate(host, issuer).NotAfter != nil
}

func (c *fakeCertifier) Certificate(host string, issuer api.Issuer) api.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.issued[host] != issuer {
		return api.Certificate{Host: host}
	}
	return api.Certificate{Host: host, Issuer: "Test", NotBefore: &testTime, NotAfter: new(testTime.Add(time.Hour))}
}

func (c *fakeCertifier) looksAfter() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(c.kept)), ", ")
}

// tlsRequestFor returns a request to deploy a with certificates for hosts.
func tlsRequestFor(service string, a *testkit.App, hosts ...string) api.DeployRequest {
	req := requestFor(service, a)
	req.Hosts, req.TLS = hosts, &api.TLSRequest{}
	return req
}

func TestCertificatesAreThereBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	asked, issue := make(chan string, 10), make(chan struct{})
	c.certify = func(_ context.Context, host string) error {
		asked <- host
		<-issue
		return nil
	}
	e := newTestEngine(t, withCertifier(c))
	old, next := testkit.StartApp(t, "old"), testkit.StartApp(t, "next")
	e.deploy(api.DeployRequest{Service: "app", Hosts: []string{"a.test"}, Targets: []string{old.Target}})
	d := e.start(tlsRequestFor("app", next, "b.test", "a.test"))
	hosts := []string{testkit.Receive(t, asked, "an order"), testkit.Receive(t, asked, "an order")}
	slices.Sort(hosts)
	if got := strings.Join(hosts, " "); got != "a.test b.test" {
		t.Errorf("certificates were ordered for %s", got)
	}
	e.wantAnswer("a.test", "/", "old")
	close(issue)
	status, err := wait(t, d)
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Certificates) != 2 || status.Certificates[0].Host != "a.test" || status.Certificates[1].NotAfter == nil {
		t.Errorf("the deployment has the certificates %+v", status.Certificates)
	}
	if got := await(t, d, api.EventCertified, 1).Certificate; got.Issuer != "Test" {
		t.Errorf("the event has the certificate %+v", got)
	}
	if s, _ := e.Service("app"); !s.TLS || len(s.Certificates) != 2 {
		t.Errorf("the service is described as %+v", s)
	}
	if got := c.looksAfter(); got != "a.test auto, b.test auto" {
		t.Errorf("looked after: %s", got)
	}
}

func TestFailedCertificateKeepsServing(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	e := newTestEngine(t, withCertifier(c))
	old, next := testkit.StartApp(t, "old"), testkit.StartApp(t, "next")
	c.certify = func(ctx context.Context, host string) error {
		if host == "b.test" {
			return errors.New("the authority says no")
		}
		<-ctx.Done() // one that fails ends the others
		return context.Cause(ctx)
	}
	fail := func() {
		t.Helper()
		before := e.picture()
		status, err := wait(t, e.start(tlsRequestFor("app", next, "a.test", "b.test")))
		wantCode(t, err, api.CodeCertificate)
		if err.Error() != "no certificate for b.test: the authority says no" || status.State != api.StateFailed || status.Release != 0 {
			t.Errorf("%v, %+v", err, status)
		}
		if after := e.picture(); after != before {
			t.Errorf("a failed certificate has changed\n%s\nto\n%s", before, after)
		}
		if got := c.looksAfter(); got != "" {
			t.Errorf("looked after: %s", got)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.forgotten["a.test"] {
			t.Error("the certificates of the other hosts are not forgotten")
		}
	}
	fail()
	if status, _ := e.get("a.test", "/"); status != http.StatusNotFound {
		t.Errorf("a first deploy that failed: %d", status)
	}
	e.deploy(api.DeployRequest{Service: "app", Hosts: []string{"a.test"}, Targets: []string{old.Target}})
	fail()
	e.wantAnswer("a.test", "/", "old")
}

// TestHealthIsNewWhenTheTrafficComes although a certificate took its time.
func TestHealthIsNewWhenTheTrafficComes(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	e := newTestEngine(t, withCertifier(c))
	old, next := testkit.StartApp(t, "old"), testkit.StartApp(t, "next")
	e.deploy(api.DeployRequest{Service: "app", Hosts: []string{"a.test"}, Targets: []string{old.Target}})
	interval := testkit.Milliseconds(10)
	c.certify = func(context.Context, string) error {
		next.Health.Store(http.StatusServiceUnavailable)
		time.Sleep(2 * time.Duration(*interval)) // for the health to be old news
		return nil
	}
	req := tlsRequestFor("app", next, "a.test")
	req.HealthCheckInterval, req.DeployTimeout = interval, testkit.Milliseconds(300)
	status, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeNotHealthy)
	if status.Release != 0 || len(status.Probes) != 1 || status.Probes[0].Healthy {
		t.Errorf("%+v", status)
	}
	e.wantAnswer("a.test", "/", "old")
	if got := c.looksAfter(); got != "" {
		t.Errorf("looked after: %s", got)
	}

	// One that recovers is waited for.
	c.certify = func(context.Context, string) error {
		next.Health.Store(http.StatusServiceUnavailable)
		time.Sleep(2 * time.Duration(*interval))
		time.AfterFunc(50*time.Millisecond, func() { next.Health.Store(http.StatusOK) })
		return nil
	}
	next.Health.Store(http.StatusOK)
	req.DeployTimeout = nil
	e.deploy(req)
}

func TestCertificatesThatCanNeverBeAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	c.check = func(host string) error { return api.Invalid("%s is no good", host) }
	a := testkit.StartApp(t, "a")
	e := newTestEngine(t, withCertifier(c))
	_, err := e.Deploy(tlsRequestFor("app", a, "a.test").Patch())
	wantCode(t, err, api.CodeInvalid)
	if err.Error() != "a.test is no good" || a.Probes.Load() > 0 {
		t.Errorf("%v after %d probes", err, a.Probes.Load())
	}
	_, err = newTestEngine(t).Deploy(tlsRequestFor("app", a, "a.test").Patch())
	wantCode(t, err, api.CodeInvalid)
}

// Whoever does not wait is served by HTTP until there is a certificate.
func TestDeployDoesNotWaitForCertificatesIfToldSo(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	c.certify = func(context.Context, string) error { return errors.New("nobody should ask") }
	e := newTestEngine(t, withCertifier(c))
	a := testkit.StartApp(t, "a")
	req := tlsRequestFor("app", a, "a.test")
	req.TLS.Wait = new(false)
	e.deploy(req)
	if got := c.looksAfter(); got != "a.test auto" {
		t.Errorf("looked after: %s", got)
	}
	e.wantAnswer("a.test", "/", "a")
	c.mu.Lock()
	c.issued["a.test"] = api.IssuerAuto
	c.mu.Unlock()
	if status, _ := e.get("a.test", "/"); status != http.StatusMovedPermanently {
		t.Errorf("with a certificate: %d", status)
	}
}

func TestCertificatesAreLookedAfterForAsLongAsTheyAreServed(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	e := newTestEngine(t, withCertifier(c))
	a := testkit.StartApp(t, "a")
	want := func(after, want string) {
		t.Helper()
		if got := c.looksAfter(); got != want {
			t.Errorf("after %s, looked after: %s; want %s", after, got, want)
		}
	}
	e.deploy(tlsRequestFor("a", a, "a.test", "b.test", "*.c.test"))
	want("a deploy", "*.c.test auto, a.test auto, b.test auto")

	second := tlsRequestFor("api", a, "a.test")
	second.PathPrefixes = []string{"/api"}
	e.deploy(second)
	want("a deploy of a second service on a host", "*.c.test auto, a.test auto, b.test auto")

	internal := tlsRequestFor("a", a, "a.test", "d.test")
	internal.TLS.Issuer = api.IssuerInternal
	e.deploy(internal)
	want("a change of hosts and issuer", "a.test auto, a.test internal, d.test internal")

	restarted := newFakeCertifier()
	again := newTestEngine(t, withStore(e.store), withCertifier(restarted))
	if err := again.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	again.Start()
	if got := restarted.looksAfter(); got != "a.test auto, a.test internal, d.test internal" {
		t.Errorf("after a restart, looked after: %s", got)
	}
	if status, _ := again.get("d.test", "/"); status != http.StatusMovedPermanently {
		t.Errorf("after a restart, HTTP is answered with %d", status)
	}

	if _, err := e.Remove("a", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	want("a removal", "a.test auto")
	if _, err := e.Remove("api", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	want("the last removal", "")
}

// deployHosts deploys so many hosts with certificates from c. It returns how long that
// took in its bubble.
func deployHosts(t *testing.T, c *fakeCertifier, hosts int) (took time.Duration, err error) {
	t.Helper()
	e := NewEngine(EngineOptions{Store: newMemoryStore(), Certifier: c})
	defer e.Close()
	req := api.DeployRequest{Service: "app", Targets: []string{"web:3000"}, Force: true, TLS: &api.TLSRequest{}}
	for i := range hosts {
		req.Hosts = append(req.Hosts, fmt.Sprintf("h%d.test", i))
	}
	begun := time.Now()
	d, err := e.Deploy(req.Patch())
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Wait(t.Context())
	return time.Since(begun), err
}

func TestWaitForCertificatesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCertifier()
		c.certify = func(ctx context.Context, host string) error {
			if host == "h0.test" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		for hosts, want := range map[int]time.Duration{2: certifyTimeout, api.MaxHosts: certifyTimeout + 33*time.Minute} {
			took, err := deployHosts(t, c, hosts)
			wantCode(t, err, api.CodeCertificate)
			if message := fmt.Sprintf("only 1 of %d hosts had a certificate within %s", hosts, want); took != want || !strings.Contains(err.Error(), message) {
				t.Errorf("gave up after %s: %v", took, err)
			}
		}
	})
}

// Orders are paced, so many hosts take their time at their first deploy.
func TestAsManyHostsAsThereMayBeAreCertified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCertifier()
		next := time.Now().Add(-freeOrders * time.Second)
		var mu sync.Mutex
		c.certify = func(ctx context.Context, _ string) error {
			mu.Lock()
			next = next.Add(time.Second)
			turn := time.Until(next)
			mu.Unlock()
			const takes = 5 * time.Second // as an order at Let's Encrypt may
			select {
			case <-time.After(max(0, turn) + takes):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if took, err := deployHosts(t, c, api.MaxHosts); err != nil {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestWarningsOfCertificates(t *testing.T) {
	now := testTime
	at := func(d time.Duration) *time.Time { return new(now.Add(d)) }
	const day = 24 * time.Hour
	for want, c := range map[string]api.Certificate{
		"":                                      {NotBefore: at(-60 * day), NotAfter: at(30 * day)},
		"is being obtained":                     {},
		"cannot be obtained: no":                {Error: "no"},
		"has expired":                           {NotBefore: at(-90 * day), NotAfter: at(-time.Second)},
		"has expired: no":                       {NotBefore: at(-90 * day), NotAfter: at(-time.Second), Error: "no"},
		"is not being renewed: no":              {NotBefore: at(-60 * day), NotAfter: at(30 * day), Error: "no"},
		"expires soon and has not been renewed": {NotBefore: at(-80 * day), NotAfter: at(10 * day)},
	} {
		if got := c.Warning(now); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
		if got, _, _ := strings.Cut(want, ":"); c.Problem(now) != got {
			t.Errorf("%+v in short: %q, want %q", c, c.Problem(now), got)
		}
	}
	short := api.Certificate{NotBefore: at(-6 * time.Hour), NotAfter: at(6 * time.Hour)}
	if got := short.Warning(now); got != "" {
		t.Errorf("in the middle of a short life: %q", got)
	}
}

func TestManyHostsAreCertifiedAFewAtATime(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	var mu sync.Mutex
	busy, most := 0, 0
	c.certify = func(context.Context, string) error {
		mu.Lock()
		defer mu.Unlock()
		busy++
		most = max(most, busy)
		mu.Unlock()
		defer func() { mu.Lock(); busy-- }()
		time.Sleep(time.Millisecond) // as an order takes its time
		return nil
	}
	e := newTestEngine(t, withCertifier(c))
	var hosts []string
	for i := range 40 {
		hosts = append(hosts, fmt.Sprintf("h%02d.test", i))
	}
	status := e.deploy(tlsRequestFor("app", testkit.StartApp(t, "a"), hosts...))
	if len(status.Certificates) != 40 || most > maxParallelOrders {
		t.Errorf("%d certificates, at most %d at a time", len(status.Certificates), most)
	}
}
