package forward

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// probeTLS asks an app with the certificate once. ca is what the file has in it.
func probeTLS(t *testing.T, c tls.Certificate, ca []byte, change func(*api.DeployRequest)) probeResult {
	t.Helper()
	req := api.DeployRequest{Targets: []string{testkit.StartTLSApp(t, "app", c).Target}}
	if ca != nil {
		req.TargetCA = "/ca.pem"
	}
	if change != nil {
		change(&req)
	}
	s, err := req.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	s.TargetCA = string(ca)
	r := newTestForwarder().NewRelease(s)
	defer r.Close()
	return r.upstreams[0].prober().probe(t.Context())
}

func TestCertificateOfATargetIsCheckedAsTheSettingsSay(t *testing.T) {
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	ours, others := testkit.NewAuthority(t, "Ours", tomorrow.Add(time.Hour)), testkit.NewAuthority(t, "Others", tomorrow.Add(time.Hour))
	const address = "127.0.0.1"
	good := ours.Issue(tomorrow.Add(-time.Hour), address)
	named := func(name string) func(*api.DeployRequest) {
		return func(r *api.DeployRequest) { r.TargetServerName = name }
	}
	insecure := func(r *api.DeployRequest) { r.TargetInsecure = true }
	for _, c := range []struct {
		name        string
		certificate tls.Certificate
		ca          []byte
		change      func(*api.DeployRequest)
		want        string
	}{
		{"from the authority", good, ours.PEM, nil, ""},
		{"from one of several", good, append(others.PEM[:len(others.PEM):len(others.PEM)], ours.PEM...), nil, ""},
		{"from one that the system does not know", good, nil, nil, `its certificate is from an authority that is not trusted, "Ours"`},
		{"from another", good, others.PEM, nil, `its certificate is from an authority that is not trusted, "Ours"`},
		{"whose file is gone", good, []byte{}, nil, `its certificate is from an authority that is not trusted, "Ours"`},
		{"for another name", ours.Issue(tomorrow, "app.test", "b.test", "c.test", "d.test"), ours.PEM, nil, "its certificate is for app.test, b.test, c.test, and 1 more, but 127.0.0.1 was asked for"},
		{"for the name that was given", ours.Issue(tomorrow, "app.test"), ours.PEM, named("App.test."), ""},
		{"for another than was given", good, ours.PEM, named("app.test"), "its certificate is for 127.0.0.1, but app.test was asked for"},
		{"for no name", ours.Issue(tomorrow), ours.PEM, nil, "its certificate is for no name at all, but 127.0.0.1 was asked for"},
		{"that has expired", ours.Issue(yesterday, address), ours.PEM, nil, "its certificate has expired on " + yesterday.UTC().Format(time.DateOnly)},
		{"that is not valid yet", ours.Issue(tomorrow.Add(24*time.Hour), address), ours.PEM, nil, "its certificate is not valid before " + tomorrow.UTC().Format(time.DateTime)},
		{"that nobody looks at", others.Issue(yesterday, "app.test"), nil, insecure, ""},
	} {
		if got := probeTLS(t, c.certificate, c.ca, c.change); got.reason != c.want {
			t.Errorf("a certificate %s: %q, want %q", c.name, got.reason, c.want)
		}
	}
}

// TestTargetIsAskedForTheNameInItsCertificate by SNI, so that it can have several.
func TestTargetIsAskedForTheNameInItsCertificate(t *testing.T) {
	asked := make(chan string, 10)
	tomorrow := time.Now().Add(24 * time.Hour)
	certificate := testkit.NewAuthority(t, "Ours", tomorrow).Issue(tomorrow.Add(-time.Hour), "app.test")
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	app := testkit.NewApp("app").Start(t, tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- hello.ServerName
		return &certificate, nil
	}}))
	got := probe(t, "https://"+app.Target, func(r *api.DeployRequest) { r.TargetServerName, r.TargetInsecure = "app.test", true })
	if name := testkit.Receive(t, asked, "a handshake"); name != "app.test" || !got.ok() {
		t.Errorf("asked for %q, %+v", name, got)
	}
}
