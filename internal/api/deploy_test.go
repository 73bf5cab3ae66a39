package api

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// minimal is the least that a deploy can say.
func minimal() DeployRequest { return DeployRequest{Targets: []string{"web:3000"}} }

func TestRequestsHaveTheDocumentedDefaults(t *testing.T) {
	s, err := minimal().Resolve()
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{
		Service: "default",
		Targets: []Target{{"http", "tcp", "web:3000"}},
		Routes:  []Route{{"", "/"}},
		Options: Options{
			PathPrefixes: []string{"/"}, StripPathPrefix: true, HealthCheckPath: "/up", HealthCheckStatus: "200-299",
			HealthCheckInterval: Duration(time.Second), HealthCheckTimeout: Duration(5 * time.Second),
			WarmRequests: 3, DeployTimeout: Duration(30 * time.Second), DrainTimeout: Duration(30 * time.Second), StreamTimeout: Duration(10 * time.Second),
			TargetTimeout: Duration(30 * time.Second), HoldTimeout: Duration(5 * time.Second), BufferMemory: 1 << 20, LB: LeastConn, WriterAffinity: DefaultWriterAffinity,
		},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("resolved to\n%+v, want\n%+v", s, want)
	}
}

func TestServiceIsNamedAfterItsFirstHost(t *testing.T) {
	for _, tt := range []struct {
		service string
		hosts   []string
		want    string
	}{
		{"", nil, "default"},
		{"", []string{"B.example.com", "a.example.com"}, "b.example.com"},
		{"", []string{"*.example.com"}, "*.example.com"},
		{"", []string{"bücher.de"}, "xn--bcher-kva.de"},
		{"shop", []string{"a.example.com"}, "shop"},
	} {
		req := minimal()
		req.Service, req.Hosts = tt.service, tt.hosts
		if s, err := req.Resolve(); err != nil || s.Service != tt.want {
			t.Errorf("--service %q --host %v is the service %q, %v, want %q", tt.service, tt.hosts, s.Service, err, tt.want)
		}
	}
}

func TestServiceNamesAreSafeInFilesAndOnTerminals(t *testing.T) {
	for _, name := range []string{"a", "7", "default", "app-1.example.com", "my_app", "*.example.com", "xn--bcher-kva.de", Long(252)} {
		if err := ValidateServiceName(name); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "../etc", "a/b", "/a", `a\b`, "a..b", "-a", "a-", ".a", "a.", "*", "*a", "a*", "*.*.a", "a b",
		"a\n", "\na", "a\x1b[31mb", "a\x00", "ä", "a%2Fb", "a:80", "~a", Long(253), "\u202eabc",
	} {
		err := ValidateServiceName(name)
		wantCode(t, err, CodeInvalid)
		if strings.ContainsFunc(err.Error(), IsControl) {
			t.Errorf("%q: the error steers terminals: %q", name, err)
		}
		req := minimal()
		if req.Service = name; name != "" {
			wantCode(t, req.Validate(), CodeInvalid)
		}
	}
}

func TestDurationsOutOfBoundsAreRefused(t *testing.T) {
	zeroAllowed := map[string]bool{"DrainTimeout": true, "StreamTimeout": true, "TargetTimeout": true, "HoldTimeout": true, "WriterAffinity": true, "Watch": true, "SlowStart": true}
	// Reflection, so that a field that is added later cannot be forgotten here.
	check := func(of any, field string, d Duration, want bool, validate func() error) {
		t.Helper()
		err := validate()
		if want && err != nil || !want && ErrorCode(err) != CodeInvalid {
			t.Errorf("%T.%s of %s: %v", of, field, d, err)
		}
	}
	fields := 0
	for field := range reflect.TypeFor[DeployRequest]().Fields() {
		if field.Type != reflect.TypeFor[*Duration]() {
			continue
		}
		fields++
		for d, want := range map[Duration]bool{
			0:                                   zeroAllowed[field.Name],
			Duration(10 * time.Millisecond):     true,
			Duration(24 * time.Hour):            true,
			Duration(24*time.Hour + 1):          false,
			-1:                                  false,
			Duration(-time.Hour):                false,
			Duration(math.MaxInt64):             false,
			Duration(math.MinInt64):             false,
			Duration(math.MaxInt64 - time.Hour): false,
		} {
			req := minimal()
			reflect.ValueOf(&req).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(&d))
			check(req, field.Name, d, want, req.Validate)
		}
	}
	if fields < 7 {
		t.Errorf("tried %d durations, there used to be 7", fields)
	}
	for d, want := range map[Duration]bool{0: true, -1: false, MaxTimeout + 1: false, math.MaxInt64: false, math.MinInt64: false} {
		remove := RemoveRequest{DrainTimeout: &d}
		check(remove, "DrainTimeout", d, want, remove.Validate)
		remove = RemoveRequest{StreamTimeout: &d}
		check(remove, "StreamTimeout", d, want, remove.Validate)
	}
}

func TestInvalidRequestsNameWhatIsWrong(t *testing.T) {
	many := func(n int, format string) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf(format, i+1))
		}
		return all
	}
	for name, tt := range map[string]struct {
		change func(*DeployRequest)
		reason string
	}{
		"no target":               {func(r *DeployRequest) { r.Targets = nil }, "at least one target"},
		"a bad target":            {func(r *DeployRequest) { r.Targets = []string{"web:3000", "web"} }, `target "web" has no port`},
		"a target twice":          {func(r *DeployRequest) { r.Targets = []string{"web:80", "http://WEB:080"} }, "named twice"},
		"too many targets":        {func(r *DeployRequest) { r.Targets = many(129, "web-%d:80") }, "at most 128 targets, not 129"},
		"a bad host":              {func(r *DeployRequest) { r.Hosts = []string{"a.example.com", "b:80"} }, `host "b:80" has a port`},
		"too many hosts":          {func(r *DeployRequest) { r.Hosts = many(1001, "h%d.example.com") }, "at most 1000 hosts"},
		"a bad prefix":            {func(r *DeployRequest) { r.PathPrefixes = []string{"api"} }, "write it as /api"},
		"too many prefixes":       {func(r *DeployRequest) { r.PathPrefixes = many(101, "/p%d") }, "100 path prefixes"},
		"a relative health path":  {func(r *DeployRequest) { r.HealthCheckPath = "up" }, "begin it with a slash"},
		"a health URL":            {func(r *DeployRequest) { r.HealthCheckPath = "http://x/up" }, "begin it with a slash"},
		"a broken health path":    {func(r *DeployRequest) { r.HealthCheckPath = "/%zz" }, "not a valid URL path"},
		"a header in the path":    {func(r *DeployRequest) { r.HealthCheckPath = "/up HTTP/1.1\r\nX: y" }, "is not a path"},
		"a long health path":      {func(r *DeployRequest) { r.HealthCheckPath = "/" + Long(2048) }, "is not a path"},
		"a negative health port":  {func(r *DeployRequest) { r.HealthCheckPort = -1 }, "port -1 is not a port"},
		"a huge health port":      {func(r *DeployRequest) { r.HealthCheckPort = 65536 }, "port 65536 is not a port"},
		"a header in the host":    {func(r *DeployRequest) { r.HealthCheckHost = "a\r\nX: y" }, "not a host name"},
		"a URL as health host":    {func(r *DeployRequest) { r.HealthCheckHost = "http://a" }, "not a host name"},
		"a long health host":      {func(r *DeployRequest) { r.HealthCheckHost = Long(256) }, "not a host name"},
		"no pause between checks": {func(r *DeployRequest) { r.HealthCheckInterval = ms(0) }, "health check interval 0s is out of range; use a value from 10ms to 24h"},
	} {
		req := minimal()
		tt.change(&req)
		err := req.Validate()
		if ErrorCode(err) != CodeInvalid || !strings.Contains(err.Error(), tt.reason) || strings.ContainsFunc(err.Error(), IsControl) {
			t.Errorf("%s: %v, want an error that says %q", name, err, tt.reason)
		}
	}
}

func TestRepeatedHostsAndPrefixesAreHarmless(t *testing.T) {
	req := minimal()
	req.Hosts, req.PathPrefixes = []string{"a.example.com", "A.example.com."}, []string{"/api", "/api/"}
	s, err := req.Resolve()
	if err != nil || !slices.Equal(s.Routes, []Route{{"a.example.com", "/api"}}) {
		t.Errorf("routes %v, %v, want one", s.Routes, err)
	}
}

func TestChangesAreTold(t *testing.T) {
	resolved := func(change func(*DeployRequest)) Spec {
		req := minimal()
		change(&req)
		s, err := req.Resolve()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := resolved(func(*DeployRequest) {})
	changed := func(change func(*DeployRequest)) []string {
		after := resolved(change)
		return Changes(before.Hosts, before.Options, after.Hosts, after.Options)
	}
	if same := changed(func(r *DeployRequest) { r.Targets = []string{"web-2:3000"} }); same != nil {
		t.Errorf("only the target differs, but these are told: %q", same)
	}
	got := changed(func(r *DeployRequest) {
		r.Hosts, r.PathPrefixes, r.StripPathPrefix = []string{"a.example.com"}, []string{"/api"}, new(false)
		r.HealthCheckPath, r.HealthCheckPort, r.HealthCheckHost = "/healthz", 9090, "a"
		r.HealthCheckInterval, r.HealthCheckTimeout, r.TargetTimeout, r.HoldTimeout = ms(2000), ms(2000), ms(0), ms(0)
	})
	want := []string{
		"host: any -> a.example.com", "path-prefix: / -> /api", "strip-path-prefix: true -> false",
		"health-check-path: /up -> /healthz", "health-check-port: 0 -> 9090", "health-check-host: default -> a",
		"health-check-interval: 1s -> 2s", "health-check-timeout: 5s -> 2s", "target-timeout: 30s -> 0s", "hold-timeout: 5s -> 0s",
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes\n%q, want\n%q", got, want)
	}
}
