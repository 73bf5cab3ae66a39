package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// certifyTimeout bounds how long a deployment waits for its certificates, and
	// certifyTimePerHost is added for each host beyond freeOrders. A challenge by DNS
	// takes minutes; certmagic begins ten orders at once and then one a second, and with
	// maxParallelOrders, those of a slow authority are fewer.
	certifyTimeout     = 5 * time.Minute
	certifyTimePerHost = 2 * time.Second
	freeOrders         = 10
	// maxParallelOrders bounds the certificates that a deployment orders at a time.
	maxParallelOrders = 4
)

// certificateHosts returns the hosts of r that have certificates issued before they
// are asked for.
func (r *release) certificateHosts() []string {
	return hostsToCertify(r.Spec.Options.TLS, r.Spec.Hosts)
}

// hostsToCertify returns those of hosts that have certificates issued before they are
// asked for.
func hostsToCertify(o *api.TLSOptions, hosts []string) []string {
	switch {
	case o == nil || o.OwnFiles():
		return nil
	case o.OnDemandURL == "":
		return hosts
	}
	// The names below a wildcard get theirs on demand.
	return slices.DeleteFunc(slices.Clone(hosts), api.IsWildcard)
}

// checkCertificates refuses what can never have certificates, before anything is
// done.
func (e *Engine) checkCertificates(s api.Spec) error {
	t := s.Options.TLS
	switch {
	case t == nil:
		return nil
	case t.OwnFiles():
		if err := newKeyPair(t, s.Hosts).read(time.Now()); err != nil {
			return api.Invalid("%s", api.Printable(err.Error())).With(keyPairHint(err))
		}
		return nil
	case e.opts.Certifier == nil:
		return api.Invalid("this proxy gets no certificates")
	}
	for _, host := range hostsToCertify(t, s.Hosts) {
		if err := e.opts.Certifier.Check(host, t.Issuer); err != nil {
			return api.AsError(err)
		}
	}
	return nil
}

// certify gets the certificates of a release that is about to be switched to.
func (e *Engine) certify(d *Deployment, r *release) error {
	if r.keyPair != nil {
		if err := r.keyPair.read(time.Now()); err != nil {
			failed := &api.Error{Code: api.CodeCertificate, Message: api.Printable(err.Error()), Cause: err}
			return failed.With(keyPairHint(err))
		}
	}
	if r.keyPair == nil && d.spec.WaitForCertificates {
		if err := e.obtainCertificates(d, r); err != nil {
			return err
		}
		r.certified.Store(true)
	}
	certificates := e.certificatesOf(r)
	if t := r.Spec.Options.TLS; t != nil && t.OnDemandURL != "" {
		// One that is not there yet is no news: it comes with the first handshake.
		certificates = slices.DeleteFunc(certificates, func(c api.Certificate) bool { return c.NotAfter == nil })
	}
	if len(certificates) > 0 {
		d.setCertificates(certificates)
	}
	return nil
}

// certifyTimeoutFor returns how long a deployment waits for the certificates of so many
// hosts.
func certifyTimeoutFor(hosts int) time.Duration {
	return certifyTimeout + time.Duration(max(0, hosts-freeOrders))*certifyTimePerHost
}

// obtainCertificates waits for the certificates of all hosts of r. The first that
// cannot be had ends it.
func (e *Engine) obtainCertificates(d *Deployment, r *release) error {
	hosts := r.certificateHosts()
	if len(hosts) == 0 {
		return nil
	}
	timeout := certifyTimeoutFor(len(hosts))
	ctx, cancel := context.WithTimeoutCause(d.ctx, timeout, errCertifyTimeout)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	slots := make(chan struct{}, maxParallelOrders)
	var orders sync.WaitGroup
	var obtained atomic.Int64
	for _, host := range hosts {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		orders.Go(func() {
			defer func() { <-slots }()
			d.send(api.Event{Kind: api.EventCertifying, Host: host})
			certificate, err := e.opts.Certifier.Certify(ctx, host, r.Spec.Options.TLS.Issuer)
			if err != nil {
				fail(certificateError(host, err))
				return
			}
			obtained.Add(1)
			d.send(api.Event{Kind: api.EventCertified, Host: host, Certificate: &certificate})
		})
	}
	orders.Wait()
	cause := context.Cause(ctx)
	if errors.Is(cause, errCertifyTimeout) {
		message := "there was no certificate"
		if n := obtained.Load(); n > 0 {
			message = fmt.Sprintf("only %d of %d hosts had a certificate", n, len(hosts))
		}
		failed := &api.Error{Code: api.CodeCertificate, Message: message + " within " + api.Duration(timeout).String()}
		return failed.WithHint("the proxy's log says what the certificate authority did; %s deploys without waiting", api.Field("tls.wait").Is("false"))
	}
	return cause
}

var errCertifyTimeout = errors.New("certificate timeout")

func certificateError(host string, err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	return &api.Error{Code: api.CodeCertificate, Message: "no certificate for " + host + ": " + api.Printable(err.Error()), Cause: err}
}

// hasCertificate reports whether a client of r that asks for host by HTTPS can be
// served. A certificate that is obtained on demand counts.
func (e *Engine) hasCertificate(r *release, host string) bool {
	switch {
	case r.keyPair != nil:
		return r.keyPair.current.Load() != nil
	case r.certified.Load() || r.Spec.Options.TLS.OnDemandURL != "" || e.opts.Certifier == nil:
		return true
	}
	site, ok := e.TLSName(host)
	if !ok {
		return false
	}
	there := e.opts.Certifier.HasCertificate(site.Host, site.Issuer)
	if there && len(r.Spec.Hosts) == 1 {
		r.certified.Store(true) // no need to look again
	}
	return there
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

// forgetCertificates ends that for the hosts of a release, which may be nil, that
// nobody has certificates from the same issuer for any more.
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

// certificatesOf returns what is known of the certificates of r, which may be nil.
func (e *Engine) certificatesOf(r *release) []api.Certificate {
	if r == nil || r.Spec.Options.TLS == nil {
		return nil
	}
	if r.keyPair != nil {
		return r.keyPair.certificates(e.log())
	}
	var all []api.Certificate
	if e.opts.Certifier != nil {
		for _, host := range r.certificateHosts() {
			all = append(all, e.opts.Certifier.Certificate(host, r.Spec.Options.TLS.Issuer))
		}
	}
	slices.SortFunc(all, func(a, b api.Certificate) int { return cmp.Compare(a.Host, b.Host) })
	return all
}
