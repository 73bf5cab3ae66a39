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
func (r *Release) certificateHosts() []string { return r.options.TLS.hostsToCertify(r.hosts) }

// hostsToCertify returns those of hosts that have certificates issued before they are
// asked for.
func (o *TLSOptions) hostsToCertify(hosts []string) []string {
	switch {
	case o == nil || o.ownFiles():
		return nil
	case o.OnDemandURL == "":
		return hosts
	}
	// The names below a wildcard get theirs on demand.
	return slices.DeleteFunc(slices.Clone(hosts), isWildcard)
}

// checkCertificates refuses what can never have certificates, before anything is
// done.
func (e *Engine) checkCertificates(s spec) error {
	t := s.options.TLS
	switch {
	case t == nil:
		return nil
	case t.ownFiles():
		if err := newKeyPair(t, s.hosts).read(time.Now()); err != nil {
			return invalid("%s", Printable(err.Error())).withHint("%s", keyPairHint(err))
		}
		return nil
	case e.opts.Certifier == nil:
		return invalid("this proxy gets no certificates")
	}
	for _, host := range t.hostsToCertify(s.hosts) {
		if err := e.opts.Certifier.Check(host, t.Issuer); err != nil {
			return asError(err)
		}
	}
	return nil
}

// certify gets the certificates of a release that is about to be switched to.
func (e *Engine) certify(d *Deployment, r *Release) error {
	if r.keyPair != nil {
		if err := r.keyPair.read(time.Now()); err != nil {
			return &Error{Code: CodeCertificate, Message: Printable(err.Error()), Hint: keyPairHint(err), Cause: err}
		}
	}
	if r.keyPair == nil && d.spec.waitForCertificates {
		if err := e.obtainCertificates(d, r); err != nil {
			return err
		}
		r.certified.Store(true)
	}
	if certificates := e.certificatesOf(r); len(certificates) > 0 {
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
func (e *Engine) obtainCertificates(d *Deployment, r *Release) error {
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
			d.send(Event{Kind: EventCertifying, Host: host})
			certificate, err := e.opts.Certifier.Certify(ctx, host, r.options.TLS.Issuer)
			if err != nil {
				fail(certificateError(host, err))
				return
			}
			obtained.Add(1)
			d.send(Event{Kind: EventCertified, Host: host, Certificate: &certificate})
		})
	}
	orders.Wait()
	cause := context.Cause(ctx)
	if errors.Is(cause, errCertifyTimeout) {
		message := "there was no certificate"
		if n := obtained.Load(); n > 0 {
			message = fmt.Sprintf("there were certificates for %d of %d hosts only", n, len(hosts))
		}
		return &Error{
			Code:    CodeCertificate,
			Message: message + " within " + Duration(timeout).String(),
			Hint:    "see the proxy's log for what the certificate authority was doing; --tls-wait=false does not wait",
		}
	}
	return cause
}

var errCertifyTimeout = errors.New("certificate timeout")

func certificateError(host string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeCertificate, Message: "no certificate for " + host + ": " + Printable(err.Error()), Cause: err}
}

// hasCertificate reports whether a client of r that asks for host by HTTPS can be
// served. A certificate that is obtained on demand counts.
func (e *Engine) hasCertificate(r *Release, host string) bool {
	switch {
	case r.keyPair != nil:
		return r.keyPair.current.Load() != nil
	case r.certified.Load() || r.options.TLS.OnDemandURL != "" || e.opts.Certifier == nil:
		return true
	}
	site, ok := e.TLSSite(host)
	if !ok {
		return false
	}
	there := e.opts.Certifier.HasCertificate(site.Host, site.Issuer)
	if there && len(r.hosts) == 1 {
		r.certified.Store(true) // no need to look again
	}
	return there
}

// keepCertificates has the certificates of a release that serves looked after.
func (e *Engine) keepCertificates(r *Release) {
	hosts := r.certificateHosts()
	if len(hosts) == 0 || e.opts.Certifier == nil {
		return
	}
	e.certifyingMu.Lock()
	defer e.certifyingMu.Unlock()
	for _, host := range hosts {
		e.opts.Certifier.Keep(host, r.options.TLS.Issuer)
	}
}

// forgetCertificates ends that for the hosts of a release, which may be nil, that
// nobody has certificates from the same issuer for any more.
func (e *Engine) forgetCertificates(r *Release) {
	if r == nil || e.opts.Certifier == nil {
		return
	}
	e.certifyingMu.Lock()
	defer e.certifyingMu.Unlock()
	for _, host := range r.certificateHosts() {
		if issuer := r.options.TLS.Issuer; !e.NeedsCertificate(host, issuer) {
			e.opts.Certifier.Forget(host, issuer)
		}
	}
}

// certificatesOf returns what is known of the certificates of r, which may be nil.
func (e *Engine) certificatesOf(r *Release) []Certificate {
	if r == nil || r.options.TLS == nil {
		return nil
	}
	if r.keyPair != nil {
		return r.keyPair.certificates(e.log())
	}
	var all []Certificate
	if e.opts.Certifier != nil {
		for _, host := range r.certificateHosts() {
			all = append(all, e.opts.Certifier.Certificate(host, r.options.TLS.Issuer))
		}
	}
	slices.SortFunc(all, func(a, b Certificate) int { return cmp.Compare(a.Host, b.Host) })
	return all
}
