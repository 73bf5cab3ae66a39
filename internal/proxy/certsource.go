package proxy

import "github.com/parachute-proxy/parachute/internal/api"

// certificateSource is where the certificates of a release come from. Each source has a file:
// [issued] in issued.go, [onDemand] in ondemand.go, and [ownFiles] in ownfiles.go.
type certificateSource interface {
	// check returns why there can never be certificates. It comes before anything is done.
	check(e *Engine) error
	// obtain has the certificates there before the switch, as far as the deployment waits for
	// them, and returns those that it tells of.
	obtain(e *Engine, d *Deployment) ([]api.Certificate, error)
	// issuedHosts returns the hosts whose certificates are issued before somebody asks for
	// them, and are renewed for as long as the release serves.
	issuedHosts() []string
	// covers reports whether a client that asks for host by HTTPS can be served.
	covers(e *Engine, host string) bool
	// answers reports whether handshakes can be answered, or be tried to.
	answers() bool
	// answer returns what the handshake for a server name is answered with, and whether there
	// is anything. host is what the service has claimed of the name; empty if that is any host.
	answer(e *Engine, serverName, host string) (TLSName, bool)
	// certificates describes what is known of the certificates, by host.
	certificates(e *Engine) []api.Certificate
}

// source returns where the certificates of r come from; nil without TLS.
func (r *release) source() certificateSource {
	switch t := r.Spec.Options.TLS; {
	case t == nil:
		return nil
	case r.keyPair != nil:
		return ownFiles{r}
	case t.OnDemandURL != "":
		return onDemand{issued{r}}
	}
	return issued{r}
}

// certificateHosts returns the hosts of r whose certificates are issued before somebody asks
// for them.
func (r *release) certificateHosts() []string {
	if s := r.source(); s != nil {
		return s.issuedHosts()
	}
	return nil
}

// certificatesOf returns what is known of the certificates of r, which may be nil.
func (e *Engine) certificatesOf(r *release) []api.Certificate {
	if r == nil || r.source() == nil {
		return nil
	}
	return r.source().certificates(e)
}
