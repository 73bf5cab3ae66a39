package api

import (
	"reflect"
	"strings"
	"testing"
)

func TestTLSRequestsAreResolved(t *testing.T) {
	for name, tc := range map[string]struct {
		req  DeployRequest
		want TLSOptions
		wait bool
	}{
		"defaults": {
			DeployRequest{Hosts: []string{"a.example.com"}, TLS: &TLSRequest{}},
			TLSOptions{Issuer: IssuerAuto, Redirect: true},
			true,
		},
		"everything else": {
			DeployRequest{Hosts: []string{"a.localhost"}, TLS: &TLSRequest{Issuer: IssuerInternal, Wait: new(false), Redirect: new(false)}},
			TLSOptions{Issuer: IssuerInternal},
			false,
		},
		"own certificate, every host": {
			DeployRequest{TLS: &TLSRequest{CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem"}},
			TLSOptions{Issuer: IssuerAuto, Redirect: true, CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem"},
			true,
		},
		"on demand, every host": {
			DeployRequest{TLS: &TLSRequest{OnDemandURL: "/may-have-tls"}},
			TLSOptions{Issuer: IssuerAuto, Redirect: true, OnDemandURL: "/may-have-tls"},
			true,
		},
		"on demand, below a wildcard": {
			DeployRequest{Hosts: []string{"*.example.com"}, TLS: &TLSRequest{OnDemandURL: "https://x.test/ask?k=1"}},
			TLSOptions{Issuer: IssuerAuto, Redirect: true, OnDemandURL: "https://x.test/ask?k=1"},
			true,
		},
	} {
		tc.req.Targets = []string{"web:3000"}
		tc.req.Service = "app"
		s, err := tc.req.Resolve()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(*s.Options.TLS, tc.want) || s.WaitForCertificates != tc.wait {
			t.Errorf("%s: %+v, wait %t; want %+v, %t", name, *s.Options.TLS, s.WaitForCertificates, tc.want, tc.wait)
		}
		// What is stored has to mean the same when it is read.
		again, err := DeployRequest{Targets: tc.req.Targets, Service: "app", Hosts: s.Hosts, TLS: s.Options.TLS.Request()}.Resolve()
		if err != nil || !reflect.DeepEqual(again.Options.TLS, s.Options.TLS) {
			t.Errorf("%s: read back as %+v, %v", name, again.Options.TLS, err)
		}
	}
}

func TestTLSRequestsThatCannotWorkAreRefused(t *testing.T) {
	long := "/" + strings.Repeat("x", 5000)
	for want, req := range map[string]DeployRequest{
		"the service has no host":                         {TLS: &TLSRequest{}},
		`"letsencrypt" is not an issuer`:                  {Hosts: []string{"a.test"}, TLS: &TLSRequest{Issuer: "letsencrypt"}},
		"needs two files":                                 {Hosts: []string{"a.test"}, TLS: &TLSRequest{CertificatePath: "/c.pem"}},
		"not the absolute path":                           {TLS: &TLSRequest{CertificatePath: "c.pem", PrivateKeyPath: "/k.pem"}},
		`"\x1b/k.pem" is not the absolute path`:           {TLS: &TLSRequest{CertificatePath: "/c.pem", PrivateKeyPath: "\x1b/k.pem"}},
		"xxx\" is not the absolute path":                  {TLS: &TLSRequest{CertificatePath: long, PrivateKeyPath: "/k.pem"}},
		"has either its own certificate or":               {TLS: &TLSRequest{CertificatePath: "/c.pem", PrivateKeyPath: "/k.pem", OnDemandURL: "/x"}},
		"neither an http or https URL nor a path":         {TLS: &TLSRequest{OnDemandURL: "ftp://x.test/ask"}},
		`"ask" is neither an http`:                        {TLS: &TLSRequest{OnDemandURL: "ask"}},
		`"//x.test/ask" is neither`:                       {TLS: &TLSRequest{OnDemandURL: "//x.test/ask"}},
		"is not a URL":                                    {TLS: &TLSRequest{OnDemandURL: "http://x.test/%zz\n"}},
		"all hosts of the service are":                    {Hosts: []string{"a.test"}, TLS: &TLSRequest{OnDemandURL: "/ask"}},
		"canonical host b.test is not one of the hosts":   {Hosts: []string{"a.test"}, CanonicalHost: "b.test"},
		"canonical host *.b.test is not one of the hosts": {Hosts: []string{"*.b.test"}, CanonicalHost: "*.b.test"},
		`host "a.test:80" has a port`:                     {CanonicalHost: "a.test:80"},
	} {
		req.Targets, req.Service = []string{"web:3000"}, "app"
		err := req.Validate()
		wantCode(t, err, CodeInvalid)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %q instead of one with %q", err, want)
		}
	}
}

// A deploy says what it has changed; what it leaves out is turned off.
func TestChangesOfTLSAreSaid(t *testing.T) {
	resolved := func(req DeployRequest) Spec {
		req.Targets, req.Hosts = []string{"web:3000"}, []string{"a.test", "b.test"}
		s, err := req.Resolve()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	off := resolved(DeployRequest{})
	on := resolved(DeployRequest{TLS: &TLSRequest{}, CanonicalHost: "a.test"})
	internal := resolved(DeployRequest{TLS: &TLSRequest{Issuer: IssuerInternal, Redirect: new(false)}, CanonicalHost: "a.test"})
	for _, tc := range []struct {
		from, to Spec
		want     string
	}{
		{off, on, "tls: off -> on; canonical-host: none -> a.test"},
		{on, off, "tls: on -> off; canonical-host: a.test -> none"},
		{on, internal, "tls: on -> internal; tls-redirect: true -> false"},
	} {
		if got := strings.Join(Changes(tc.from.Hosts, tc.from.Options, tc.to.Hosts, tc.to.Options), "; "); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}
