package proxy

import (
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// ownFiles is a certificate of the service's own, in files that somebody else renews:
// [release.keyPair].
type ownFiles struct{ of *release }

func (s ownFiles) check(*Engine) error {
	if err := s.of.keyPair.read(time.Now()); err != nil {
		return api.Invalid("%s", api.Printable(err.Error())).With(keyPairHint(err))
	}
	return nil
}

func (s ownFiles) obtain(e *Engine, _ *Deployment) ([]api.Certificate, error) {
	if err := s.of.keyPair.read(time.Now()); err != nil {
		failed := &api.Error{Code: api.CodeCertificate, Message: api.Printable(err.Error()), Cause: err}
		return nil, failed.With(keyPairHint(err))
	}
	return s.certificates(e), nil
}

// issuedHosts returns nothing: who renews the files is somebody else.
func (ownFiles) issuedHosts() []string { return nil }

func (s ownFiles) covers(*Engine, string) bool { return s.answers() }

// answers reports whether the files, or what was stored of them, could ever be read.
func (s ownFiles) answers() bool { return s.of.keyPair.current.Load() != nil }

func (s ownFiles) answer(e *Engine, _, host string) (TLSName, bool) {
	certificate := s.of.keyPair.get(e.log())
	return TLSName{Service: s.of.Spec.Service, Host: host, Issuer: s.of.Spec.Options.TLS.Issuer, Certificate: certificate}, certificate != nil
}

func (s ownFiles) certificates(e *Engine) []api.Certificate {
	return s.of.keyPair.certificates(e.log())
}
