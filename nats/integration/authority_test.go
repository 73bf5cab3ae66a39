package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// authority is a certificate authority that speaks as much of ACME (RFC 8555) as certificates for a test need. It trusts
// signatures and nonces. Each challenge has to be answered by all proxies.
type authority struct {
	*httptest.Server
	rootFile string
	proxies  []*rig.Proxy
	key      *ecdsa.PrivateKey
	root     *x509.Certificate

	// mu guards what follows.
	mu sync.Mutex
	// challenge is the type of those that it sets.
	challenge string
	// thumbprints are those of the keys of accounts (RFC 7638).
	thumbprints []string
	orders      []*order
}

// order is one for one name.
type order struct {
	name, token, status string
	certificate         []byte
}

func startAuthority(t *testing.T, proxies []*rig.Proxy) *authority {
	a := &authority{proxies: proxies, challenge: "http-01", rootFile: filepath.Join(t.TempDir(), "root.pem")}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	must(t, err)
	a.root, err = x509.ParseCertificate(der)
	must(t, err)
	a.Server = httptest.NewTLSServer(a)
	t.Cleanup(a.Close)
	must(t, os.WriteFile(a.rootFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600))
	return a
}

// flags are those of a proxy that orders from it.
func (a *authority) flags() []string {
	return []string{"--acme-ca", a.URL + "/directory", "--acme-ca-root", a.rootFile}
}

// ordersFor returns how many orders there were for a name.
func (a *authority) ordersFor(name string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.orders {
		if o.name == name {
			n++
		}
	}
	return n
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Replay-Nonce", rand.Text())
	var jws struct{ Protected, Payload string }
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &jws) // there is none in a GET
	protected, _ := base64.RawURLEncoding.DecodeString(jws.Protected)
	payload, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
	a.mu.Lock()
	defer a.mu.Unlock()
	what, number, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	i := 0
	_, _ = fmt.Sscan(number, &i)
	var o *order
	if i < len(a.orders) {
		o = a.orders[i]
	}
	switch {
	case what == "directory":
		a.answer(w, 200, map[string]any{"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/new", "revokeCert": a.URL + "/revoke", "keyChange": a.URL + "/key"})
	case what == "nonce":
	case what == "account":
		var head struct {
			JWK struct {
				Crv string `json:"crv"`
				Kty string `json:"kty"`
				X   string `json:"x"`
				Y   string `json:"y"`
			} `json:"jwk"`
		}
		_ = json.Unmarshal(protected, &head)
		canonical, _ := json.Marshal(head.JWK)
		sum := sha256.Sum256(canonical)
		a.thumbprints = append(a.thumbprints, base64.RawURLEncoding.EncodeToString(sum[:]))
		w.Header().Set("Location", fmt.Sprintf("%s/account/%d", a.URL, len(a.thumbprints)))
		a.answer(w, 201, map[string]any{"status": "valid"})
	case what == "new":
		var asked struct{ Identifiers []struct{ Value string } }
		_ = json.Unmarshal(payload, &asked)
		o = &order{name: asked.Identifiers[0].Value, token: rand.Text(), status: "pending"}
		a.orders = append(a.orders, o)
		w.Header().Set("Location", fmt.Sprintf("%s/order/%d", a.URL, len(a.orders)-1))
		a.answer(w, 201, a.describe(o))
	case o == nil:
		a.answer(w, 404, map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": r.URL.Path})
	case what == "order":
		a.answer(w, 200, a.describe(o))
	case what == "authorization":
		a.answer(w, 200, map[string]any{
			"status": map[bool]string{true: "pending", false: "valid"}[o.status == "pending"], "identifier": map[string]string{"type": "dns", "value": o.name},
			"challenges": []any{a.challengeOf(o, i)},
		})
	case what == "challenge":
		if err := a.validate(o); err != nil {
			o.status = "invalid"
			a.answer(w, 403, map[string]any{"type": "urn:ietf:params:acme:error:unauthorized", "detail": err.Error()})
			return
		}
		o.status = "ready"
		a.answer(w, 200, a.challengeOf(o, i))
	case what == "finalize":
		var asked struct{ CSR string }
		_ = json.Unmarshal(payload, &asked)
		if err := a.issue(o, asked.CSR); err != nil {
			a.answer(w, 400, map[string]any{"type": "urn:ietf:params:acme:error:badCSR", "detail": err.Error()})
			return
		}
		a.answer(w, 200, a.describe(o))
	case what == "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(o.certificate)
	}
}

func (a *authority) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// describe returns an order as clients see it. mu must be held.
func (a *authority) describe(o *order) map[string]any {
	i := slices.Index(a.orders, o)
	d := map[string]any{
		"status": o.status, "identifiers": []any{map[string]string{"type": "dns", "value": o.name}},
		"authorizations": []string{fmt.Sprintf("%s/authorization/%d", a.URL, i)}, "finalize": fmt.Sprintf("%s/finalize/%d", a.URL, i),
	}
	if o.certificate != nil {
		d["certificate"] = fmt.Sprintf("%s/certificate/%d", a.URL, i)
	}
	return d
}

func (a *authority) challengeOf(o *order, i int) map[string]any {
	status := "pending"
	if o.status != "pending" {
		status = "valid"
	}
	return map[string]any{"type": a.challenge, "url": fmt.Sprintf("%s/challenge/%d", a.URL, i), "token": o.token, "status": status}
}

// validate has every proxy answer the challenge of an order.
func (a *authority) validate(o *order) error {
	for i, p := range a.proxies {
		check := a.askHTTP
		if a.challenge == "tls-alpn-01" {
			check = a.askTLS
		}
		if err := check(p, o); err != nil {
			return fmt.Errorf("proxy-%d: %w", i+1, err)
		}
	}
	return nil
}

// isAuthorized reports whether somebody has shown what only an account can know.
func (a *authority) isAuthorized(shown string, of func(thumbprint string) string) error {
	for _, thumbprint := range a.thumbprints {
		if shown == of(thumbprint) {
			return nil
		}
	}
	return fmt.Errorf("the wrong answer to the challenge: %.80q", shown)
}

// askHTTP validates as RFC 8555, section 8.3, has it.
func (a *authority) askHTTP(p *rig.Proxy, o *order) error {
	req, err := http.NewRequest(http.MethodGet, p.URL()+"/.well-known/acme-challenge/"+o.token, nil)
	if err != nil {
		return err
	}
	req.Host = o.name
	resp, err := (&http.Client{Timeout: rigtest.Patience}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return a.isAuthorized(strings.TrimSpace(string(body)), func(thumbprint string) string { return o.token + "." + thumbprint })
}

// acmeIdentifier is the extension with the answer, of RFC 8737, section 3.
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// askTLS validates as RFC 8737, section 3, has it.
func (a *authority) askTLS(p *rig.Proxy, o *order) error {
	state, err := handshake(p, &tls.Config{ServerName: o.name, NextProtos: []string{"acme-tls/1"}})
	if err != nil {
		return err
	}
	for _, e := range state.PeerCertificates[0].Extensions {
		if e.Id.Equal(acmeIdentifier) && state.NegotiatedProtocol == "acme-tls/1" {
			return a.isAuthorized(string(e.Value), func(thumbprint string) string {
				sum := sha256.Sum256([]byte(o.token + "." + thumbprint))
				value, _ := asn1.Marshal(sum[:])
				return string(value)
			})
		}
	}
	return fmt.Errorf("no answer to the challenge in the certificate of %s", state.PeerCertificates[0].Subject)
}

// issue issues the certificate of an order.
func (a *authority) issue(o *order, encoded string) error {
	der, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, a.root, csr.PublicKey, a.key); err != nil {
		return err
	}
	for _, c := range [][]byte{der, a.root.Raw} {
		o.certificate = append(o.certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	o.status = "valid"
	return nil
}

// handshake makes one with a proxy. What the certificate is worth is not looked at.
func handshake(p *rig.Proxy, config *tls.Config) (tls.ConnectionState, error) {
	config.InsecureSkipVerify = true
	ctx, cancel := context.WithTimeout(context.Background(), rigtest.Patience)
	defer cancel()
	conn, err := (&tls.Dialer{NetDialer: new(net.Dialer), Config: config}).DialContext(ctx, "tcp", p.HTTPSAddr())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}
