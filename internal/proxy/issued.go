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

// issued are certificates that the [Certifier] has issued for the hosts of a release.
type issued struct{ of *release }

func (s issued) issuedHosts() []string { return s.of.Spec.Hosts }

func (s issued) check(e *Engine) error { return s.checkHosts(e, s.issuedHosts()) }

func (s issued) checkHosts(e *Engine, hosts []string) error {
	if e.opts.Certifier == nil {
		return api.Invalid("this proxy gets no certificates")
	}
	for _, host := range hosts {
		if err := e.opts.Certifier.Check(host, s.of.Spec.Options.TLS.Issuer); err != nil {
			return api.AsError(err)
		}
	}
	return nil
}

func (s issued) obtain(e *Engine, d *Deployment) ([]api.Certificate, error) {
	if err := s.obtainHosts(e, d, s.issuedHosts()); err != nil {
		return nil, err
	}
	return s.certificates(e), nil
}

// obtainHosts waits for the certificates of all hosts, if the deployment does. The first that
// cannot be had ends it.
func (s issued) obtainHosts(e *Engine, d *Deployment, hosts []string) error {
	if !d.spec.WaitForCertificates {
		return nil
	}
	if len(hosts) > 0 {
		if err := e.orderCertificates(d, hosts, s.of.Spec.Options.TLS.Issuer); err != nil {
			return err
		}
	}
	s.of.certified.Store(true)
	return nil
}

// certifyTimeoutFor returns how long a deployment waits for the certificates of so many
// hosts.
func certifyTimeoutFor(hosts int) time.Duration {
	return certifyTimeout + time.Duration(max(0, hosts-freeOrders))*certifyTimePerHost
}

// orderCertificates gets the certificates of hosts, several at a time.
func (e *Engine) orderCertificates(d *Deployment, hosts []string, issuer api.Issuer) error {
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
			certificate, err := e.opts.Certifier.Certify(ctx, host, issuer)
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

func (s issued) covers(e *Engine, host string) bool {
	r := s.of
	if r.certified.Load() || e.opts.Certifier == nil {
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

func (issued) answers() bool { return true }

func (s issued) answer(_ *Engine, _, host string) (TLSName, bool) {
	if host == "" {
		return TLSName{}, false
	}
	return TLSName{Service: s.of.Spec.Service, Host: host, Issuer: s.of.Spec.Options.TLS.Issuer}, true
}

func (s issued) certificates(e *Engine) []api.Certificate { return s.describe(e, s.issuedHosts()) }

// describe returns what is known of the certificates of hosts.
func (s issued) describe(e *Engine, hosts []string) (all []api.Certificate) {
	if e.opts.Certifier == nil {
		return nil
	}
	for _, host := range hosts {
		all = append(all, e.opts.Certifier.Certificate(host, s.of.Spec.Options.TLS.Issuer))
	}
	slices.SortFunc(all, func(a, b api.Certificate) int { return cmp.Compare(a.Host, b.Host) })
	return all
}
