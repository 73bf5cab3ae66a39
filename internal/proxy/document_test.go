package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// documentOf returns what is stored of a release of the service, and the apps.
func documentOf(t *testing.T, req api.DeployRequest, version int) []byte {
	t.Helper()
	s, err := req.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	b, err := encodeLineup(&lineup{active: releaseOf(s, version, time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// loaded returns an engine that has loaded what is in store.
func loaded(t *testing.T, store *memoryStore) *testEngine {
	t.Helper()
	e := newTestEngine(t, withStore(store))
	e.store = store
	if err := e.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestServicesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	first := requestFor("a", a)
	first.Hosts, first.PathPrefixes, first.StripPathPrefix = []string{"a.example.com", "*.a.example.com"}, []string{"/api", "/x"}, new(false)
	first.HealthCheckHost, first.TargetTimeout, first.HoldTimeout = "internal", testkit.Milliseconds(0), testkit.Milliseconds(1234)
	e.deploy(requestFor("a", b))
	e.deploy(first)
	e.deploy(requestFor("b", b))

	restarted := loaded(t, e.store)
	for i, want := range e.Services() {
		got := restarted.Services()[i]
		// Traffic and health are new.
		for _, s := range []*api.ServiceStatus{&got, &want} {
			s.Served, s.Active.Served, s.Generation = 0, 0, ""
			for i := range s.Active.Targets {
				s.Active.Targets[i].Health, s.Active.Targets[i].Since = "", nil
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("came back as\n%+v %+v, was\n%+v %+v", got, *got.Active, want, *want.Active)
		}
	}
	restarted.checkConsistent()
	restarted.wantAnswer("www.a.example.com", "/api", "a")
	restarted.wantAnswer("h", "/", "b")
	if status := restarted.deploy(first); status.Release != 3 || status.Previous != 2 || len(status.Changes) != 0 {
		t.Errorf("the next release: %+v, want v3 after v2 and no changes", status)
	}
}

// TestTornDocumentCostsNobodyElse truncates the document of one service at every
// byte, with and without a previous generation.
func TestTornDocumentCostsNobodyElse(t *testing.T) {
	t.Parallel()
	old, current, other := testkit.StartApp(t, "old"), testkit.StartApp(t, "current"), testkit.StartApp(t, "other")
	req := requestFor("app", current)
	req.Hosts = []string{"app.example.com"}
	newest := documentOf(t, req, 7)
	req.Targets = []string{old.Target}
	previous := documentOf(t, req, 6)
	otherReq := requestFor("other", other)
	otherDocument := documentOf(t, otherReq, 3)

	for end := range len(newest) {
		for name, generations := range map[string][][]byte{
			"with a previous generation":          {newest[:end], previous},
			"without one":                         {newest[:end]},
			"with a previous generation torn too": {newest[:end], previous[:end/2]},
		} {
			store := newMemoryStore()
			store.put("app", generations...)
			store.put("other", otherDocument)
			e := NewEngine(EngineOptions{Store: store})
			if err := e.Load(t.Context()); err != nil {
				t.Fatalf("torn at %d, %s: %v", end, name, err)
			}
			app, _ := e.Service("app")
			if name == "with a previous generation" {
				if app.Broken != "" || app.Active == nil || app.Active.Release != 6 {
					t.Fatalf("torn at %d, %s: %+v, want v6", end, name, app)
				}
			} else if app.Broken == "" || app.Active != nil {
				t.Fatalf("torn at %d, %s: %+v, want it broken", end, name, app)
			}
			if s, err := e.Service("other"); err != nil || s.Active == nil || s.Active.Release != 3 {
				t.Fatalf("torn at %d, %s: the other service is %+v, %v", end, name, s, err)
			}
			if got := store.dump()["app"]; len(got) != len(generations) || !bytes.Equal(got[0], newest[:end]) {
				t.Fatalf("torn at %d, %s: loading has changed what is stored", end, name)
			}
			e.Close()
		}
	}
}

// TestBrokenServiceIsMendedByADeploy and stays as it is until one succeeds.
func TestBrokenServiceIsMendedByADeploy(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	store.put("app", []byte(`{"format": 1, "serv`))
	e := loaded(t, store)
	if status, _ := e.get("h", "/"); status != 404 {
		t.Errorf("a broken service answers %d", status)
	}
	sick := testkit.StartApp(t, "sick")
	sick.Health.Store(500)
	req := requestFor("app", sick)
	req.DeployTimeout = testkit.Milliseconds(20)
	// What it had cannot be kept, so that it has to be named.
	_, err := e.Deploy(req.Patch())
	wantCode(t, err, api.CodeInvalid)
	if hint := api.AsError(err).Hint; !strings.Contains(hint, "`reset`") {
		t.Errorf("hint %q", hint)
	}
	req.Reset = true
	_, err = wait(t, e.start(req))
	wantCode(t, err, api.CodeNotHealthy)
	if s, _ := e.Service("app"); !strings.Contains(s.Broken, "decoding the document") || s.Active != nil {
		t.Errorf("after a failed deploy: %+v, want it broken", s)
	}
	if got := string(store.dump()["app"][0]); got != `{"format": 1, "serv` {
		t.Errorf("a failed deploy has overwritten the document with %s", got)
	}
	req = requestFor("app", testkit.StartApp(t, "app"))
	req.Reset = true
	e.deploy(req)
	e.wantAnswer("h", "/", "app")
	e.checkConsistent()

	store.put("gone", []byte("x"))
	e = loaded(t, store)
	if _, err := e.Remove("gone", api.RemoveRequest{}); err != nil {
		t.Errorf("removing a broken service: %v", err)
	}
	e.checkConsistent()
}

// TestReleasedFormatsStillLoad has a document of every format that was released.
// Never change one; add others.
func TestReleasedFormatsStillLoad(t *testing.T) {
	for format, want := range map[string]struct {
		release int
		targets []string
		routes  []string
		hold    time.Duration
	}{
		"1-minimal": {1, []string{"web-1:3000"}, []string{"*/"}, 5 * time.Second},
		"2-held":    {1, []string{"web-1:3000"}, []string{"*/"}, 5 * time.Second},
		"2-canary":  {3, []string{"web-1:3000"}, []string{"app.example.com/"}, 5 * time.Second},
		"2-watched": {4, []string{"web-2:3000"}, []string{"app.example.com/"}, 5 * time.Second},
		"2-kept":    {4, []string{"web-2:3000"}, []string{"app.example.com/"}, 5 * time.Second},

		"5-fleet":    {4, []string{"web-2:3000"}, []string{"app.example.com/"}, 5 * time.Second},
		"4-cookie":   {3, []string{"web-1:3000"}, []string{"app.example.com/"}, 5 * time.Second},
		"3-handlers": {2, []string{"web-1:3000"}, []string{"app.example.com/"}, 5 * time.Second},
		"1-everything": {
			42,
			[]string{"[2001:db8::7]:3000", "unix//run/app.sock", "https://web-1:443", "h2c://web-2:8080"},
			[]string{"app.example.com/", "app.example.com/api", "*.example.org/", "*.example.org/api"},
			0,
		},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", "state", "format-"+format+".json"))
		if err != nil {
			t.Fatal(err)
		}
		store := newMemoryStore()
		store.put("app", b)
		e := NewEngine(EngineOptions{Store: store})
		if err := e.Load(t.Context()); err != nil {
			t.Fatalf("format %s: %v", format, err)
		}
		svc := e.services["app"]
		if svc.broken != nil {
			t.Fatalf("format %s: %v", format, svc.broken)
		}
		r := svc.active.release()
		if r.Version != want.release || fmt.Sprint(r.Targets()) != fmt.Sprint(want.targets) || fmt.Sprint(r.Spec.Routes) != fmt.Sprint(want.routes) ||
			time.Duration(r.Spec.Options.HoldTimeout) != want.hold || r.DeployedAt.IsZero() {
			t.Errorf("format %s: %+v", format, r)
		}
		if has := r.Spec.Handlers != nil && r.handlers != nil; has != (format == "3-handlers") {
			t.Errorf("format %s: it has handlers: %t", format, has)
		}
		l := svc.lineup()
		if of := l.ended != nil && l.ended.Outcome == api.OutcomeAborted && l.rollout.position().Turn == 3; of != (format == "5-fleet") {
			t.Errorf("format %s: it is one of a fleet: %t", format, of)
		}
		if held := l.hold != nil; held != (format == "2-held") {
			t.Errorf("format %s: held: %t", format, held)
		}
		var rest []string
		for _, r := range l.releases()[1:] {
			rest = append(rest, fmt.Sprintf("v%d %s", r.Version, r.Targets()))
		}
		if l.rollout != nil {
			rest = append(rest, fmt.Sprintf("%s of v%d against v%d, %s left, last v%d", l.rollout.at.Phase, l.rollout.next.Version, l.rollout.previous.Version, l.rollout.at.Remaining, svc.lastVersion))
		}
		wantRest := map[string]string{
			"2-canary":  "[v5 [web-2:3000] canary of v5 against v3, 1m30s left, last v5]",
			"4-cookie":  "[v5 [web-2:3000] canary of v5 against v3, 0s left, last v5]",
			"2-watched": "[v3 [web-1:3000] watch of v4 against v3, 45s left, last v4]",
			"5-fleet":   "[v3 [web-1:3000] watch of v4 against v3, 45s left, last v4]",
			"2-kept":    "[v2 [web-1:3000]]",
		}[format]
		if got := fmt.Sprint(rest); got != cmp.Or(wantRest, "[]") {
			t.Errorf("format %s: besides, there is %s, want %s", format, got, wantRest)
		}
		e.Close()
	}
	if documentFormat != 5 {
		t.Errorf("add a document of format %d", documentFormat)
	}
}

// TestNewerFormatStopsTheStart because guessing, or overwriting it, would lose
// what the newer version knows.
func TestNewerFormatStopsTheStart(t *testing.T) {
	document := documentOf(t, api.DeployRequest{Service: "app", Targets: []string{"web:80"}}, 1)
	newer := bytes.Replace(document, []byte(`"format": 1`), []byte(`"format": 6, "shape": "unknown"`), 1)
	for name, generations := range map[string][][]byte{"current": {newer, document}, "previous": {document[:9], newer}} {
		store := newMemoryStore()
		store.put("app", generations...)
		err := NewEngine(EngineOptions{Store: store}).Load(t.Context())
		if !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "service app") {
			t.Errorf("%s: %v, want %v and the name of the service", name, err, ErrNewerFormat)
		}
	}
}

func TestDocumentsThatDoNotFitAreBroken(t *testing.T) {
	good := documentOf(t, api.DeployRequest{Service: "app", Targets: []string{"web:80"}}, 1)
	replace := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("there is no %s in %s", old, good)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for reason, document := range map[string][]byte{
		`of the service "other"`:   replace(`"service": "app"`, `"service": "other"`),
		"has no format":            replace(`"format": 1`, `"format": 0`),
		"has the release 0":        replace(`"release": 1`, `"release": 0`),
		"unknown field":            replace(`"release": 1`, `"release": 1, "colour": "blue"`),
		"has no port":              replace(`"web:80"`, `"web"`),
		"at least one target":      replace(`"web:80"`, ``),
		"hold timeout":             replace(`"hold_timeout": "5s"`, `"hold_timeout": "-5s"`),
		"is not a duration":        replace(`"hold_timeout": "5s"`, `"hold_timeout": 5`),
		"cannot unmarshal":         []byte(`[]`),
		"invalid character '\\x00": {0},
		"unexpected end":           {},
	} {
		store := newMemoryStore()
		store.put("app", document)
		e := NewEngine(EngineOptions{Store: store})
		if err := e.Load(t.Context()); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if s, _ := e.Service("app"); !strings.Contains(s.Broken, reason) {
			t.Errorf("broken because %q, want it to say %q", s.Broken, reason)
		}
	}
}

// TestRouteIsLoadedOnce when two documents claim it, as when somebody has copied one.
func TestRouteIsLoadedOnce(t *testing.T) {
	t.Parallel()
	a := testkit.StartApp(t, "app")
	store := newMemoryStore()
	for i, name := range []string{"a", "b", "c"} {
		req := requestFor(name, a)
		if name == "c" {
			req.Hosts = []string{"c.example.com"}
		}
		store.put(name, documentOf(t, req, i+1))
	}
	e := loaded(t, store)
	all := e.Services()
	if len(all) != 3 || all[0].Active == nil || all[2].Active == nil || all[1].Active != nil || !strings.Contains(all[1].Broken, "belongs to the service a") {
		t.Errorf("services %+v, want a and c serving and b broken", all)
	}
	e.wantAnswer("h", "/", "app")
	// It comes back with a route of its own, and a number of its own.
	req := requestFor("b", a)
	req.Hosts = []string{"b.example.com"}
	if status := e.deploy(req); status.Release != 3 {
		t.Errorf("it comes back as v%d, want v3", status.Release)
	}
	e.checkConsistent()
}

// halfBlindStore cannot read the newest generation, or anything.
type halfBlindStore struct {
	*memoryStore
	list, load error
}

func (s halfBlindStore) List(ctx context.Context) ([]string, error) {
	if s.list != nil {
		return nil, s.list
	}
	return s.memoryStore.List(ctx)
}

func (s halfBlindStore) Load(ctx context.Context, service string) ([][]byte, error) {
	generations, _ := s.memoryStore.Load(ctx, service)
	return generations[1:], s.load
}

func TestUnreadableStorage(t *testing.T) {
	errIO := errors.New("input/output error")
	document := documentOf(t, api.DeployRequest{Service: "app", Targets: []string{"web:80"}}, 1)
	t.Run("of everything stops the start", func(t *testing.T) {
		err := NewEngine(EngineOptions{Store: halfBlindStore{newMemoryStore(), errIO, nil}}).Load(t.Context())
		if !errors.Is(err, errIO) {
			t.Errorf("%v, want %v", err, errIO)
		}
	})
	t.Run("of one generation leaves the previous one", func(t *testing.T) {
		store := newMemoryStore()
		store.put("app", []byte("unreadable"), document)
		store.put("broken", []byte("unreadable"))
		e := NewEngine(EngineOptions{Store: halfBlindStore{store, nil, errIO}})
		if err := e.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, _ := e.Service("app"); s.Active == nil || s.Broken != "" {
			t.Errorf("%+v, want the previous generation", s)
		}
		if s, _ := e.Service("broken"); s.Active != nil || s.Broken != errIO.Error() {
			t.Errorf("%+v, want it broken because of the %v", s, errIO)
		}
	})
	t.Run("with a name that is none", func(t *testing.T) {
		store := newMemoryStore()
		store.put("../x", document)
		e := NewEngine(EngineOptions{Store: store})
		if err := e.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, _ := e.Service("../x"); !strings.Contains(s.Broken, "not a valid service name") {
			t.Errorf("%+v, want it broken", s)
		}
	})
}

// FuzzDecodeRelease checks that no document makes the start panic, and that what
// loads is written as it was read.
func FuzzDecodeRelease(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "state", "*.json"))
	if err != nil || len(files) < 3 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"format":99}`))
	f.Add([]byte(`{"format":1,"service":"app","release":-1,"targets":["a:1"]}`))
	f.Add([]byte(`{"format":1,"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := decodeDocument("app", b)
		if err != nil {
			return
		}
		e := NewEngine(EngineOptions{Store: newMemoryStore()})
		l := e.restoreLineup(&doc, nil)
		defer func() {
			for _, r := range l.releases() {
				r.Close()
			}
		}()
		encoded, err := encodeLineup(l, doc.LastRelease)
		if err != nil {
			if _, err := json.Marshal(doc.DeployedAt); err != nil {
				return // a year that has no RFC 3339 form
			}
			t.Fatal(err)
		}
		again, err := decodeDocument("app", encoded)
		if err != nil || again.Release != doc.Release || !again.DeployedAt.Equal(doc.DeployedAt) ||
			fmt.Sprintf("%+v", again.active) != fmt.Sprintf("%+v", doc.active) || (again.candidate == nil) != (doc.candidate == nil) ||
			(again.standby == nil) != (doc.standby == nil) || !reflect.DeepEqual(again.Rollout, doc.Rollout) {
			t.Fatalf("%s loads as\n%+v, is written as %s, which loads as\n%+v, %v", b, doc, encoded, again, err)
		}
	})
}

// FuzzDeployRequestJSON checks that no request makes the engine panic, and that
// one which is accepted comes back from the disk as it was.
func FuzzDeployRequestJSON(f *testing.F) {
	for _, s := range []string{
		`{"targets":["web:3000"]}`,
		`{"service":"a","targets":["[::1]:80","unix//run/a.sock"],"hosts":["bücher.de","*.example.com"],"path_prefixes":["/api/"]}`,
		`{"targets":["https://web"],"strip_path_prefix":false,"health_check_path":"/up?x=%20","health_check_port":1,"health_check_host":"a:1"}`,
		`{"targets":["web:1"],"health_check_interval":"10ms","drain_timeout":"0s","deploy_timeout":"24h"}`,
		`{"targets":["web:1"],"health_check_interval":"0s"}`, `{"service":"../../etc/passwd","targets":["a:1"]}`,
		`{"targets":["web:1"],"hold_timeout":"-9223372036854775808ns"}`, `{"targets":["web:1"],"hosts":[""]}`, `{"targets":null}`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var req api.DeployRequest
		if json.Unmarshal(b, &req) != nil {
			return
		}
		s, err := req.Resolve()
		if err != nil {
			if api.ErrorCode(err) != api.CodeInvalid || strings.ContainsFunc(err.Error(), api.IsControl) {
				t.Fatalf("%s: %q, want a printable error with the code %s", b, err, api.CodeInvalid)
			}
			return
		}
		r := releaseOf(s, 7, time.Unix(0, 0).UTC())
		defer r.Close()
		encoded, err := encodeLineup(&lineup{active: r}, 0)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := decodeDocument(s.Service, encoded)
		if err != nil || doc.Release != 7 {
			t.Fatalf("%s is stored as %s, which does not load: %v", b, encoded, err)
		}
		again := doc.active
		again.Handlers = nil // which no request has
		// These belong to the deployment and not to the release.
		again.FailOnCut, again.Force, again.Detach, again.Rollout = s.FailOnCut, s.Force, s.Detach, s.Rollout
		if !reflect.DeepEqual(again, s) {
			t.Fatalf("%s is stored as %s, which loads as\n%+v, want\n%+v", b, encoded, again, s)
		}
	})
}

// releaseOf returns a release as it is when it is stored.
func releaseOf(s api.Spec, version int, deployedAt time.Time) *release {
	if s.Options.HasHandlers() {
		s.Handlers = json.RawMessage(`{"some":"handlers"}`)
	}
	r := NewEngine(EngineOptions{}).newRelease(s)
	r.Version, r.DeployedAt = version, deployedAt
	return r
}

// TestEverySettingIsStored also if it is added later: the requests have a value that is
// not the default for every setting that a release keeps.
func TestEverySettingIsStored(t *testing.T) {
	differs := make(map[string]bool)
	authority := string(testkit.NewAuthority(t, "clients", time.Now().Add(time.Hour)).PEM)
	for _, tls := range []*api.TLSRequest{
		{Issuer: api.IssuerInternal, Redirect: new(false), OnDemandURL: "/ask"},
		{CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem"},
	} {
		req := api.DeployRequest{Service: "s", Targets: []string{"https://web:1"}, ReadTargets: []string{"https://replica:1"}, Hosts: []string{"*.a.test"}, TLS: tls}
		// They contradict each other.
		without := map[bool]string{true: "target-insecure", false: "target-ca"}[tls.CertificatePath == ""]
		for _, setting := range api.Settings() {
			v, ok := setting.In(&req)
			if _, kept := setting.In(&api.Options{TLS: new(api.TLSOptions)}); !kept && setting.Name != "service" {
				continue
			}
			if !ok || !v.IsZero() || strings.HasPrefix(setting.Name, "tls") || setting.Name == "canonical-host" || setting.Name == without {
				continue
			}
			switch v.Interface().(type) {
			case *api.Duration:
				v.Set(reflect.ValueOf(testkit.Milliseconds(1234)))
			case *api.Size:
				v.Set(reflect.ValueOf(new(api.Size(4096))))
			case api.Size:
				v.SetInt(4096)
			case *bool:
				v.Set(reflect.ValueOf(new(false)))
			case bool:
				v.SetBool(true)
			case int:
				v.SetInt(42)
			case []string:
				value := "/a"
				switch {
				case setting.Name == "forward-auth-header", strings.HasPrefix(setting.Name, "log-"):
					value = "A"
				case strings.HasSuffix(setting.Name, "header"):
					value = "A: b"
				case strings.HasSuffix(setting.Name, "-ip"):
					value = "192.0.2.0/24"
				case setting.Name == "redirect", setting.Name == "rewrite":
					value = "/a /b"
				case setting.Secret:
					value = "bob:$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"
				}
				v.Set(reflect.ValueOf([]string{value}))
			default:
				value := "/a"
				if setting.Choices != nil {
					value = setting.Choices[len(setting.Choices)-1]
				}
				switch {
				case strings.HasSuffix(setting.Name, "host"), strings.HasSuffix(setting.Name, "server-name"):
					value = "a.test"
				case setting.Name == "client-ip-header":
					value = "A"
				case setting.Name == "client-ca":
					value = authority
				case setting.Name == "hsts":
					value = api.DefaultHSTS
				case setting.Name == "rate-limit":
					value = "10/1m"
				case setting.Name == "before-switch", setting.Name == "forward-auth":
					value = "https://a.test/ask"
				case setting.Name == "intercept-errors":
					value = "500-599"
				case strings.HasSuffix(setting.Name, "status"):
					value = "200-399"
				}
				v.SetString(value)
			}
		}
		if tls.CertificatePath == "" {
			req.Hosts, req.CanonicalHost = append(req.Hosts, "a.test"), "a.test"
		}
		spec, err := req.Resolve()
		if err != nil {
			t.Fatal(err)
		}
		stored := releaseOf(spec, 1, time.Now())
		stored.keyPair = nil // whose files are not there
		b, err := encodeLineup(&lineup{active: stored}, 0)
		if err != nil {
			t.Fatal(err)
		}
		restored, err := decodeDocument("s", b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(restored.active.Options, spec.Options) {
			t.Errorf("stored was\n%+v, and restored\n%+v", spec.Options, restored.active.Options)
		}
		if !slices.Equal(restored.active.ReadTargets, spec.ReadTargets) {
			t.Errorf("stored were the read targets %s, and restored %s", spec.ReadTargets, restored.active.ReadTargets)
		}
		for _, v := range spec.Options.NotDefault() {
			differs[v.Name] = true
		}
	}
	for _, setting := range api.Settings() {
		_, kept := setting.In(&api.Options{TLS: new(api.TLSOptions)})
		if kept && !differs[setting.Name] {
			t.Errorf("%s has its default in every request, so that nothing is known of it", setting.Name)
		}
	}
}
