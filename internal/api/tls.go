package api

import (
	"net/url"
	"slices"
	"strings"
)

// Issuer says who issues the certificates of a service.
type Issuer string

const (
	// IssuerAuto is what the proxy is configured with: Let's Encrypt, unless it was
	// told otherwise.
	IssuerAuto Issuer = "auto"
	// IssuerInternal is the proxy's own certificate authority, which browsers do not
	// trust unless they are told to. It is for development.
	IssuerInternal Issuer = "internal"
)

// TLSRequest asks for HTTPS.
type TLSRequest struct {
	// Issuer says who issues the certificates. Default: auto.
	Issuer Issuer `json:"issuer,omitempty"`
	// Wait has the deployment wait for the certificates, and fail without them,
	// before it switches. Otherwise they are obtained in the background.
	// Default: true.
	Wait *bool `json:"wait,omitempty"`
	// Redirect sends clients of plain HTTP to HTTPS. Default: true.
	Redirect *bool `json:"redirect,omitempty"`
	// CertificatePath and PrivateKeyPath are PEM files on the proxy's machine, for a
	// certificate that somebody else looks after: the certificate with its chain, and
	// its key. Renewed files are picked up without a deploy. Default: none.
	CertificatePath string `json:"certificate_path,omitempty"`
	PrivateKeyPath  string `json:"private_key_path,omitempty"`
	// OnDemandURL says whether a name that is not among the hosts may have a
	// certificate, which is then obtained at its first handshake. It is asked with
	// the query parameters host and domain, and allows with 200. A path is asked of
	// the service itself. Default: none.
	OnDemandURL string `json:"on_demand_url,omitempty"`
}

// withoutOther returns r without the kept source of certificates, where p chooses another
// one: files of one's own, or an issuer. Who takes a choice back chooses nothing.
func (r *TLSRequest) withoutOther(p Patch) *TLSRequest {
	files := p.Sets("tls.certificate_path") || p.Sets("tls.private_key_path")
	issued := p.Sets("tls.issuer") || p.Sets("tls.on_demand_url")
	next := *r
	switch {
	case files && !issued:
		next.Issuer, next.OnDemandURL = "", ""
	case issued && !files:
		next.CertificatePath, next.PrivateKeyPath = "", ""
	}
	return &next
}

// TLSOptions are the settings for HTTPS that a release keeps for as long as it
// serves. Their fields are those of [TLSRequest].
type TLSOptions struct {
	Issuer          Issuer `json:"issuer"`
	Redirect        bool   `json:"redirect"`
	CertificatePath string `json:"certificate_path,omitempty"`
	PrivateKeyPath  string `json:"private_key_path,omitempty"`
	OnDemandURL     string `json:"on_demand_url,omitempty"`
}

// OwnFiles reports whether the certificate comes from files.
func (o *TLSOptions) OwnFiles() bool { return o.CertificatePath != "" }

// Request returns the request that o came from.
func (o *TLSOptions) Request() *TLSRequest {
	if o == nil {
		return nil
	}
	return &TLSRequest{
		Issuer: o.Issuer, Redirect: &o.Redirect,
		CertificatePath: o.CertificatePath, PrivateKeyPath: o.PrivateKeyPath, OnDemandURL: o.OnDemandURL,
	}
}

// String says in a word where the certificates come from.
func (o *TLSOptions) String() string {
	switch {
	case o == nil:
		return "off"
	case o.OwnFiles():
		return "own certificate"
	case o.Issuer == IssuerInternal:
		return "internal"
	}
	return "on"
}

func (r DeployRequest) resolveTLS(s *Spec) error {
	if r.TLS == nil {
		return nil
	}
	t := *r.TLS
	o := &TLSOptions{
		Issuer: t.Issuer, Redirect: t.Redirect == nil || *t.Redirect,
		CertificatePath: t.CertificatePath, PrivateKeyPath: t.PrivateKeyPath, OnDemandURL: t.OnDemandURL,
	}
	if o.Issuer == "" {
		o.Issuer = IssuerAuto
	}
	s.WaitForCertificates = t.Wait == nil || *t.Wait
	s.Options.TLS = o
	switch {
	case o.Issuer != IssuerAuto && o.Issuer != IssuerInternal:
		return Invalid("%.64q is not an issuer of certificates; use %s or %s", o.Issuer, IssuerAuto, IssuerInternal).
			WithHint("use %s or %s, or leave TLS out", Field("tls.issuer").Is(string(IssuerAuto)), Field("tls.issuer").Is(string(IssuerInternal)))
	case (o.CertificatePath == "") != (o.PrivateKeyPath == ""):
		return Invalid("your own certificate needs two files: the certificate and its private key").
			WithHint("give both %s and %s", Field("tls.certificate_path"), Field("tls.private_key_path"))
	case o.OwnFiles():
		return o.checkFiles()
	case o.OnDemandURL != "":
		return o.checkOnDemand(s.Hosts)
	case len(s.Hosts) == 0:
		return Invalid("TLS needs a certificate for a host, and the service has no host").
			WithHint("give its hosts with %s, or say with %s which names may have a certificate", Field("hosts"), Field("tls.on_demand_url"))
	}
	return nil
}

func (o *TLSOptions) checkFiles() error {
	if o.Issuer == IssuerInternal || o.OnDemandURL != "" {
		return Invalid("a service has either its own certificate or an issued one, not both")
	}
	for _, path := range []string{o.CertificatePath, o.PrivateKeyPath} {
		if err := checkFile(path); err != nil {
			return err
		}
	}
	return nil
}

func (o *TLSOptions) checkOnDemand(hosts []string) error {
	u, err := url.Parse(o.OnDemandURL)
	switch {
	case err != nil || len(o.OnDemandURL) > 2048 || strings.ContainsFunc(o.OnDemandURL, IsControl) || u.Fragment != "":
		return Invalid("%.64q is not a URL", o.OnDemandURL)
	case strings.HasPrefix(o.OnDemandURL, "/") && u.Host == "":
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return Invalid("the on-demand URL %.64q is neither an http or https URL nor a path of the service", o.OnDemandURL).
			WithHint("write it as https://host/path, or as /path to ask the service itself")
	}
	if len(hosts) > 0 && !slices.ContainsFunc(hosts, IsWildcard) {
		return Invalid("certificates on demand are for names that are not known in advance, but all hosts of the service are known").
			WithHint("leave %s out or make it a wildcard, or leave %s out", Field("hosts"), Field("tls.on_demand_url"))
	}
	return nil
}

func IsWildcard(host string) bool { return strings.HasPrefix(host, "*.") }

// resolveCanonicalHost is for [DeployRequest.CanonicalHost].
func (r DeployRequest) resolveCanonicalHost(s *Spec) error {
	if r.CanonicalHost == "" {
		return nil
	}
	host, err := NormalizeHost(r.CanonicalHost)
	if err != nil {
		return invalid(err)
	}
	if len(s.Hosts) > 0 && !slices.Contains(s.Hosts, host) || IsWildcard(host) {
		return Invalid("the canonical host %s is not one of the hosts of the service", host).
			WithHint("add it with %s", Field("hosts"))
	}
	s.Options.CanonicalHost = host
	return nil
}
