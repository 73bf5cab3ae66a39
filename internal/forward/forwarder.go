package forward

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/descriptors"
	"github.com/parachute-proxy/parachute/internal/spool"
)

// maxParallelProbes bounds the probes of running releases that are under way at
// a time. Deployments do not share it.
const maxParallelProbes = 64

// Options configure a [Forwarder].
type Options struct {
	// UserAgent is what probes say they are. Required.
	UserAgent string
	// Resolver looks up the names of targets. Default: the system's.
	Resolver *net.Resolver
	// HealthChanged is called when the health of a target of r has changed, with the
	// reason of a failure. It must not wait for anything. Required.
	HealthChanged func(r *Release, target api.Target, health api.Health, reason string)
	// LookupFailing is called when the name of a target of r cannot be looked up any more,
	// with the address at which the target is looked for meanwhile, and with nil for an
	// error when it can be again. It must not wait for anything. Default: nothing.
	LookupFailing func(r *Release, target api.Target, last netip.Addr, err error)
}

// Forwarder makes releases. It has what all of them share: how targets are reached, and
// how many are probed at a time.
type Forwarder struct {
	opts Options
	// dialer opens the connections to all targets, and probeDialer those of probes.
	dialer, probeDialer *net.Dialer
	// newProbeTransport makes the transport of one probe. Tests have their own.
	newProbeTransport func(p *prober) probeTransport
	// id tells the probes of this forwarder from others.
	id string
	// probeSlots bounds parallel probes.
	probeSlots chan struct{}
	// spools is the room for the bodies that are buffered.
	spools spool.Space
	// solo is the number of targets without a sibling that are watched.
	solo atomic.Int64
}

// NewForwarder returns a forwarder. It opens nothing.
func NewForwarder(opts Options) *Forwarder {
	if opts.LookupFailing == nil {
		opts.LookupFailing = func(*Release, api.Target, netip.Addr, error) {}
	}
	probeDialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second, Resolver: opts.Resolver}
	dialer := *probeDialer
	dialer.Control = descriptors.Control
	return &Forwarder{
		opts:              opts,
		dialer:            &dialer,
		probeDialer:       probeDialer,
		newProbeTransport: newProbeTransport,
		id:                rand.Text(),
		probeSlots:        make(chan struct{}, maxParallelProbes),
	}
}

// probeHeader says whose probe a request is, so that it is known if it comes back: a
// deployment whose target is the proxy itself would be healthy for as long as the
// release before it, and then forward every request to itself.
const probeHeader = "Parachute-Probe"

// probeID returns what the probes of a service have in the header probeHeader.
func (f *Forwarder) probeID(service string) string { return f.id + "/" + service }

// ProbedService returns the service that r is a probe of, if it is one of this proxy's
// own probes.
func (f *Forwarder) ProbedService(r *http.Request) (service string, probe bool) {
	id := r.Header[probeHeader]
	if len(id) == 0 {
		return "", false
	}
	return strings.CutPrefix(id[0], f.probeID(""))
}

// Spools returns the room for the bodies that are buffered.
func (f *Forwarder) Spools() *spool.Space { return &f.spools }

// Dialer returns the dialer for addresses that are no target of a release.
func (f *Forwarder) Dialer() *net.Dialer { return f.dialer }
