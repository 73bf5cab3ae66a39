package integration

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// showing returns a client that shows a certificate, if the server asks for one.
func showing(c *http.Client, certificates ...tls.Certificate) *http.Client {
	switch tr := c.Transport.(type) {
	case *http.Transport:
		tr.TLSClientConfig.Certificates = certificates
	case *http3.Transport:
		tr.TLSClientConfig.Certificates = certificates
	}
	return c
}

// TestServiceKnowsItsClientsByTheirCertificates over every protocol, and the other services of
// the proxy ask nobody.
func TestServiceKnowsItsClientsByTheirCertificates(t *testing.T) {
	p, client := startTLSProxy(t, "closed.test", "open.test")
	later := time.Now().Add(24 * time.Hour)
	ours, others := testkit.NewAuthority(t, "ours", later), testkit.NewAuthority(t, "others", later)
	certificates := map[string]tls.Certificate{
		"good": ours.Issue(later, "ada"), "strange": others.Issue(later, "eve"), "expired": ours.Issue(time.Now().Add(-time.Hour), "old"),
	}
	file := filepath.Join(t.TempDir(), "clients.pem")
	must(t, os.WriteFile(file, ours.PEM, 0o600))
	app := startApp(t, "app", nil)
	files := []string{"--tls-certificate-path", filepath.Join(p.Dir, "cert.pem"), "--tls-private-key-path", filepath.Join(p.Dir, "key.pem")}
	deployClosed := func(more ...string) {
		t.Helper()
		wantOutput(t, p, 0, "is live", append(append([]string{"deploy", app.addr(), "--host", "closed.test"}, files...), more...)...)
	}
	wantOutput(t, p, 0, "is live", append([]string{"deploy", app.addr(), "--host", "open.test"}, files...)...)
	deployClosed("--tls-redirect=false")
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			refused := map[bool]int{true: 421, false: 403}[protocol == "HTTP/3.0"] // to come back by another connection
			want := func(c *http.Client, host string, status int) {
				t.Helper()
				resp, body := ask(t, c, "https://"+host+"/")
				if resp.StatusCode != status || resp.Proto != protocol {
					t.Errorf("%s: %s over %s instead of %d: %s", host, resp.Status, resp.Proto, status, body)
				}
			}
			deployClosed("--unset", "client-ca,client-auth")
			// A connection that is older than the release was not asked, and is not used again.
			old := showing(client(protocol, "closed.test"), certificates["good"])
			want(old, "closed.test", 200)
			deployClosed("--client-ca", file)
			want(old, "closed.test", refused)
			if protocol != "HTTP/3.0" { // browsers do what Go's client does not
				want(old, "closed.test", 200)
			}

			want(showing(client(protocol, "closed.test"), certificates["good"]), "closed.test", 200)
			want(client(protocol, "closed.test"), "closed.test", refused)
			for _, name := range []string{"strange", "expired"} {
				c := showing(client(protocol, "closed.test"))
				// Whatever authorities the server names: a client may send what it likes.
				force := certificates[name]
				setCertificate(c, &force)
				want(c, "closed.test", 403)
			}
			asked := false
			c := client(protocol, "open.test")
			setGetCertificate(c, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return new(tls.Certificate), nil
			})
			want(c, "open.test", 200)
			if asked {
				t.Error("a client of the other service was asked for a certificate")
			}

			deployClosed("--client-auth", "optional")
			want(client(protocol, "closed.test"), "closed.test", 200)
			want(showing(client(protocol, "closed.test"), certificates["good"]), "closed.test", 200)
			force := certificates["strange"]
			c = client(protocol, "closed.test")
			setCertificate(c, &force)
			want(c, "closed.test", 403)
		})
	}
	deployClosed("--client-auth", "required")

	// The name of the handshake does not let a request for the other service in.
	for _, protocol := range protocols[:2] {
		c := client(protocol, "open.test")
		req, err := http.NewRequest(http.MethodGet, "https://open.test/", nil)
		must(t, err)
		req.Host = "closed.test"
		resp, err := c.Do(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("a request for the other service: %s", resp.Status)
		}
	}
	// Over plain HTTP, nobody can show anything.
	if resp, body := get(t, p, "closed.test", "/"); resp.StatusCode != 403 || resp.Header.Get("X-Parachute-Error") != "client_certificate" {
		t.Errorf("over plain HTTP: %s %s", resp.Status, body)
	}
	// It is kept over a restart and a deploy, and shown without its text.
	_, err := p.Stop(patience)
	must(t, err)
	must(t, p.Start())
	deployClosed()
	if resp, _ := ask(t, client("HTTP/1.1", "closed.test"), "https://closed.test/"); resp.StatusCode != 403 {
		t.Errorf("after a restart: %s", resp.Status)
	}
	if status := run(t, p, "status", "closed.test").Stdout; !strings.Contains(status, "client-ca "+fmt.Sprint(strings.Count(string(ours.PEM), "\n"))+" lines (") {
		t.Errorf("status shows\n%s", status)
	}
	for want, args := range map[string][]string{
		"there is no certificate of an authority in it": {"--host", "closed.test", "--client-ca", directives(t, "nonsense")},
		"clients can show a certificate over TLS alone": {"--host", "plain.test", "--client-ca", file},
		"--client-auth has no effect without":           {"--host", "open.test", "--client-auth", "optional"},
		"unknown client auth":                           {"--host", "closed.test", "--client-auth", "sometimes"},
		"clients can show a certificate":                {"--host", "closed.test", "--tls=false"},
	} {
		wantOutput(t, p, 2, want, append([]string{"deploy", app.addr()}, args...)...)
	}
}

// setCertificate has a client show a certificate whatever the server asks for.
func setCertificate(c *http.Client, certificate *tls.Certificate) {
	setGetCertificate(c, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil })
}

func setGetCertificate(c *http.Client, get func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) {
	switch tr := c.Transport.(type) {
	case *http.Transport:
		tr.TLSClientConfig.GetClientCertificate = get
	case *http3.Transport:
		tr.TLSClientConfig.GetClientCertificate = get
	}
}

// TestHandlersKnowTheClientByItsCertificate so that the application can be told.
func TestHandlersKnowTheClientByItsCertificate(t *testing.T) {
	p, client := startTLSProxy(t, "closed.test")
	later := time.Now().Add(24 * time.Hour)
	ours := testkit.NewAuthority(t, "ours", later)
	app := startApp(t, "app", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Client")) })
	deploy(t, p, api.DeployRequest{
		Hosts: []string{"closed.test"}, Targets: []string{app.addr()}, ClientCA: string(ours.PEM), With: "request_header X-Client {tls_client_subject}",
		TLS: &api.TLSRequest{CertificatePath: filepath.Join(p.Dir, "cert.pem"), PrivateKeyPath: filepath.Join(p.Dir, "key.pem")},
	})
	for _, protocol := range protocols {
		c := showing(client(protocol, "closed.test"), ours.Issue(later, "ada"))
		for range 2 {
			if resp, body := ask(t, c, "https://closed.test/"); body != "CN=app" {
				t.Errorf("%s: %s %q", protocol, resp.Status, body)
			}
		}
	}
}
