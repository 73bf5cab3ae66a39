package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// deployed is a service with a setting of each kind that is not the default.
func deployed(t *testing.T) *Spec {
	t.Helper()
	second := Duration(time.Second)
	s, err := DeployRequest{
		Service: "shop", Targets: []string{"web:1"}, Hosts: []string{"a.test", "b.test"}, PathPrefixes: []string{"/x"},
		StripPathPrefix: new(false), HealthCheckHeaders: []string{"A: b"}, DrainTimeout: &second, Sticky: true,
		TLS: &TLSRequest{Issuer: IssuerInternal, Redirect: new(false)}, CanonicalHost: "a.test", Force: true, Detach: true, FailOnCut: true,
	}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// A deploy that forgets --tls or --host must not take HTTPS or hosts away from a live site.
func TestADeployChangesWhatItNamesAndKeepsTheRest(t *testing.T) {
	for patch, change := range map[string]func(*DeployRequest){
		`{}`:                    func(*DeployRequest) {},
		`{"targets":["web:2"]}`: func(r *DeployRequest) { r.Targets = []string{"web:2"} },
		`{"hosts":["c.test"],"canonical_host":null}`: func(r *DeployRequest) { r.Hosts, r.CanonicalHost = []string{"c.test"}, "" },
		`{"sticky":false}`:                           func(r *DeployRequest) { r.Sticky = false },
		`{"drain_timeout":null}`:                     func(r *DeployRequest) { d := DefaultDrainTimeout; r.DrainTimeout = &d },
		`{"strip_path_prefix":true}`:                 func(r *DeployRequest) { r.StripPathPrefix = new(true) },
		`{"tls":null}`:                               func(r *DeployRequest) { r.TLS = nil },
		`{"tls":{}}`:                                 func(*DeployRequest) {},
		`{"tls":{"redirect":true}}`:                  func(r *DeployRequest) { r.TLS.Redirect = new(true) },
		`{"tls":{"redirect":null}}`:                  func(r *DeployRequest) { r.TLS.Redirect = new(true) },
		`{"tls":{"issuer":"auto"}}`:                  func(r *DeployRequest) { r.TLS.Issuer = IssuerAuto },
		`{"health_check_headers":["C: d"]}`:          func(r *DeployRequest) { r.HealthCheckHeaders = []string{"C: d"} },
		`{"force":true}`:                             func(r *DeployRequest) { r.Force = true },
		`{"reset":true,"targets":["web:2"]}`:         func(r *DeployRequest) { *r = DeployRequest{Service: "shop", Targets: []string{"web:2"}, Reset: true} },
	} {
		p, err := ParsePatch([]byte(patch))
		if err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		req, err := p.Apply(deployed(t))
		if err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		req.Service = "shop"
		got, err := req.Resolve()
		if err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		named := deployed(t).Request()
		change(&named)
		want, err := named.Resolve()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s makes\n%+v, want\n%+v", patch, got, want)
		}
	}
}

// Who takes a setting of HTTPS back does not ask for HTTPS.
func TestDefaultsOfWhatThereIsNothingOfAreNothing(t *testing.T) {
	plain, err := DeployRequest{Service: "shop", Targets: []string{"web:1"}, Hosts: []string{"a.test"}}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	for patch, wantTLS := range map[string]bool{
		`{"tls":{"redirect":null}}`:                     false,
		`{"tls":{"wait":null,"certificate_path":null}}`: false,
		`{"tls":{}}`: true,
		`{"tls":{"redirect":null,"issuer":"internal"}}`:                  true,
		`{"targets":["web:1"],"reset":true,"tls":{"redirect":null}}`:     false,
		`{"targets":["web:1"],"note":{"label":null,"by":null}}`:          false,
		`{"targets":["web:1"],"note":{"by":null},"tls":{"issuer":null}}`: false,
	} {
		p, err := ParsePatch([]byte(patch))
		if err != nil {
			t.Fatal(err)
		}
		for _, base := range []*Spec{nil, &plain} {
			req, err := p.Apply(base)
			if err != nil || (req.TLS != nil) != wantTLS || req.Note != nil {
				t.Errorf("%s on %v makes TLS %+v and the note %+v, %v", patch, base != nil, req.TLS, req.Note, err)
			}
		}
	}
}

// What a deploy makes meaningless is not kept, for the rest would be refused with it.
func TestADeployDropsWhatItMakesMeaningless(t *testing.T) {
	s, err := DeployRequest{
		Targets: []string{"https://web:1"}, TargetCA: "/ca.pem", TargetServerName: "web", Sticky: true, StickySameSite: "lax",
	}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	for patch, want := range map[string]string{
		`{"targets":["https://web:2"]}`: "/ca.pem web false lax",
		`{"targets":["web:2"]}`:         "  false lax",
		`{"sticky":false}`:              "/ca.pem web false ",
		`{"target_insecure":true}`:      " web true lax",
	} {
		p, err := ParsePatch([]byte(patch))
		if err != nil {
			t.Fatal(err)
		}
		req, err := p.Apply(&s)
		if err == nil {
			err = req.Validate()
		}
		if got := fmt.Sprint(req.TargetCA, " ", req.TargetServerName, " ", req.TargetInsecure, " ", req.StickySameSite); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", patch, got, err, want)
		}
	}
	insecure, err := DeployRequest{Targets: []string{"https://web:1"}, TargetInsecure: true}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if req, err := (Patch{"target_ca": nil}).Apply(&insecure); err != nil || !req.TargetInsecure {
		t.Errorf("who takes back authorities that there are not asks for checks: %+v, %v", req, err)
	}
	p := Patch{"targets": []string{"web:2"}, "target_ca": "/ca.pem"}
	if req, err := p.Apply(&s); err != nil || req.Validate() == nil {
		t.Errorf("what is named is refused if it means nothing: %v", err)
	}
}

// Certificates come from files or from an issuer: who names the one leaves the other.
func TestADeployChangesWhereCertificatesComeFrom(t *testing.T) {
	files, err := DeployRequest{Targets: []string{"web:1"}, Hosts: []string{"*.a.test"}, TLS: &TLSRequest{CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem"}}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := DeployRequest{Targets: []string{"web:1"}, Hosts: []string{"*.a.test"}, TLS: &TLSRequest{Issuer: IssuerInternal, OnDemandURL: "/ask"}}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from  *Spec
		patch string
		want  TLSOptions
	}{
		{&files, `{"tls":{"issuer":"internal"}}`, TLSOptions{Issuer: IssuerInternal, Redirect: true}},
		{&files, `{"tls":{"issuer":"auto"}}`, TLSOptions{Issuer: IssuerAuto, Redirect: true}},
		{&files, `{"tls":{"redirect":false}}`, TLSOptions{Issuer: IssuerAuto, CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem"}},
		{&files, `{"tls":{"private_key_path":"/l.pem"}}`, TLSOptions{Issuer: IssuerAuto, CertificatePath: "/c.pem", PrivateKeyPath: "/l.pem", Redirect: true}},
		{&issued, `{"tls":{"certificate_path":"/c.pem","private_key_path":"/k.pem"}}`, TLSOptions{Issuer: IssuerAuto, CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem", Redirect: true}},
		// Who takes a source back that there is not changes nothing.
		{&files, `{"tls":{"on_demand_url":null}}`, TLSOptions{Issuer: IssuerAuto, CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem", Redirect: true}},
		{&files, `{"tls":{"issuer":null,"on_demand_url":""}}`, TLSOptions{Issuer: IssuerAuto, CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem", Redirect: true}},
		{&files, `{"tls":{"certificate_path":null,"private_key_path":null}}`, TLSOptions{Issuer: IssuerAuto, Redirect: true}},
		{&issued, `{"tls":{"certificate_path":null}}`, TLSOptions{Issuer: IssuerInternal, OnDemandURL: "/ask", Redirect: true}},
		{&issued, `{"tls":{"on_demand_url":null}}`, TLSOptions{Issuer: IssuerInternal, Redirect: true}},
		{&issued, `{"tls":{"issuer":"auto"}}`, TLSOptions{Issuer: IssuerAuto, OnDemandURL: "/ask", Redirect: true}},
	} {
		p, err := ParsePatch([]byte(c.patch))
		if err != nil {
			t.Fatal(err)
		}
		req, err := p.Apply(c.from)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := req.Resolve(); err != nil || *s.Options.TLS != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.patch, s.Options.TLS, err, c.want)
		}
	}
}

// What belongs to one deployment is not kept: a deploy that was forced once must not be
// without a health check for ever.
func TestWhatBelongsToOneDeployIsNotKept(t *testing.T) {
	r := deployed(t).Request()
	if r.Force || r.Detach || r.FailOnCut || r.Reset || r.TLS.Wait != nil {
		t.Errorf("kept: %+v", r)
	}
}

func TestPatchesAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		``:                           "it is empty",
		`null`:                       "it is null",
		`[]`:                         "cannot unmarshal array",
		`{"targets":"web:1"}`:        "targets has to be a list, and is a JSON string",
		`{"canary":10}`:              "canary has to be a string, and is a JSON number",
		`{"tls":{"redirect":"no"}}`:  "tls.redirect has to be true or false, and is a JSON string",
		`{"keep":"yes"}`:             "keep has to be true or false, and is a JSON string",
		`{"target":["web:1"]}`:       `unknown field "target"`,
		`{"Targets":["web:1"]}`:      `unknown field "Targets"`,
		`{"tls":{"Redirect":false}}`: `unknown field "Redirect"`,
		`{"targets":["web:1"]} {}`:   "more than one JSON value",
		`{"drain_timeout":30}`:       "is not a duration",
	} {
		if _, err := ParsePatch([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// The examples of RFC 7396, appendix A, whose patch is an object.
func TestMergeIsThatOfTheRFC(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var target, patch map[string]any
		for text, to := range map[string]*map[string]any{c[0]: &target, c[1]: &patch} {
			if err := json.Unmarshal([]byte(text), to); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := json.Marshal(merge(target, patch)); string(got) != c[2] {
			t.Errorf("%s patched by %s is %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

// TestNamesOfFlagsAreNoFields, and who writes one is told the field.
func TestNamesOfFlagsAreNoFields(t *testing.T) {
	for text, want := range map[string]string{
		`{"basic_auth_file": "people"}`: `unknown field "basic_auth_file"; use basic_auth with a list of NAME:HASH`,
		`{"basic-auth-file": "people"}`: `unknown field "basic-auth-file"; use basic_auth with`,
		`{"host": "a.test"}`:            `unknown field "host"; use hosts`,
		`{"nonsense": 1}`:               `unknown field "nonsense"`,
		`{"Hosts": []}`:                 `unknown field "Hosts"`,
	} {
		if _, err := ParsePatch([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
