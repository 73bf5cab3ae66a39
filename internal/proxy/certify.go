package proxy

import "github.com/parachute-proxy/parachute/internal/api"

// checkCertificates refuses what can never have certificates, before anything is
// done.
func (e *Engine) checkCertificates(s api.Spec) error {
	if source := (&release{Spec: &s, keyPair: keyPairOf(&s)}).source(); source != nil {
		return source.check(e)
	}
	return nil
}

// certify gets the certificates of a release that is about to be switched to.
func (e *Engine) certify(d *Deployment, r *release) error {
	source := r.source()
	if source == nil {
		return nil
	}
	certificates, err := source.obtain(e, d)
	if err != nil {
		return err
	}
	if len(certificates) > 0 {
		d.setCertificates(certificates)
	}
	return nil
}

// keepCertificates has the certificates of a release that serves looked after.
func (e *Engine) keepCertificates(r *release) {
	hosts := r.certificateHosts()
	if len(hosts) == 0 || e.opts.Certifier == nil {
		return
	}
	e.certifyingMu.Lock()
	defer e.certifyingMu.Unlock()
	for _, host := range hosts {
		e.opts.Certifier.Keep(host, r.Spec.Options.TLS.Issuer)
	}
}

// forgetCertificates has the certificates of a release, which may be nil, looked after no
// more: those of its hosts that no service has from the same issuer.
func (e *Engine) forgetCertificates(r *release) {
	if r == nil || e.opts.Certifier == nil {
		return
	}
	e.certifyingMu.Lock()
	defer e.certifyingMu.Unlock()
	for _, host := range r.certificateHosts() {
		if issuer := r.Spec.Options.TLS.Issuer; !e.NeedsCertificate(host, issuer) {
			e.opts.Certifier.Forget(host, issuer)
		}
	}
}
