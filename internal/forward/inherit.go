package forward

import (
	"maps"
	"reflect"
	"slices"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Inherit has r, which is about to replace old and has no traffic yet, go on with what old
// knows of the targets that stay: their connections, their load, their health and the watch
// of it. It returns those that were failing, and are healthy by what r has seen of them
// since. old keeps what it has for as long as it drains; who closes last closes a target.
//
// A target stays if both releases reach it and check it in the same way, and if it has not
// moved: behind a name that has another address now, or behind a socket that was made again,
// is another instance. That gets no request over a connection to the one before.
func (r *Release) Inherit(old *Release) (recovered []api.Target) {
	if !reachedAlike(&r.Spec, &old.Spec) {
		return nil
	}
	for i, own := range r.upstreams {
		at := slices.IndexFunc(old.upstreams, func(kept *upstream) bool {
			return own.target == kept.target && r.asksLike(old, own.target) && own.stays(kept)
		})
		if at < 0 || !old.upstreams[at].hold() {
			continue
		}
		kept := old.upstreams[at]
		if !kept.monitor.handTo(r) { // old is being closed or shut down
			kept.letGo()
			continue
		}
		if seen := own.currentHealth(); seen.state == api.HealthHealthy {
			before := kept.failing()
			if _, changed := kept.observe(probeResult{}, seen.seen); changed && before {
				recovered = append(recovered, kept.target)
			}
		}
		r.upstreams[i] = kept
		own.letGo()
	}
	return recovered
}

// stays reports whether kept, of the release before, is the instance that u is. Both have
// the same target.
func (u *upstream) stays(kept *upstream) bool { return u.name == nil || kept.name.stayed(u.name) }

// asksLike reports whether the probes of t by r and by old are the same requests, as far as
// that does not follow from [reachedAlike].
func (r *Release) asksLike(old *Release, t api.Target) bool {
	checked := t.WithPort(r.Spec.Options.HealthCheckPort)
	host := r.probeHost(checked)
	return r.forwarder == old.forwarder && r.Spec.Service == old.Spec.Service && host == old.probeHost(checked) &&
		maps.EqualFunc(r.probeFields(host), old.probeFields(host), slices.Equal)
}

// reachedAlike reports whether two releases reach and check their targets in the same way.
// Options that are not named here count: one that is forgotten costs a cold start, and not
// a request that is sent in the wrong way.
func reachedAlike(a, b *api.Spec) bool {
	reach := func(s *api.Spec) api.Options {
		o := s.Options
		// The fields and the host of a probe are compared as they are sent.
		o.HealthCheckHeaders, o.HealthCheckHost, o.TLS, o.CanonicalHost = nil, "", nil, ""
		// What is asked of a target once, before the switch.
		o.Warm, o.WarmRequests, o.Smoke, o.BeforeSwitch, o.DeployTimeout = nil, 0, nil, "", 0
		// What is done with requests before they have a target, and with streams.
		o.PathPrefixes, o.StripPathPrefix, o.HoldTimeout, o.DrainTimeout, o.StreamTimeout = nil, false, 0, 0, 0
		o.MaxBody, o.BufferRequests = 0, false
		// What is done with their answers.
		o.ErrorPages, o.InterceptErrors = "", ""
		o.ScopeCookiePaths, o.MaxResponseBody, o.BufferResponses, o.BufferMemory = false, 0, false, 0
		// What is told of them.
		o.LogRequestHeaders, o.LogResponseHeaders, o.ExcludeMetricsPaths = nil, nil, nil
		// What they are told of the client.
		o.ForwardHeaders, o.ClientIPHeader = false, ""
		o.LB, o.Sticky, o.StickySameSite = "", false, ""
		o.WriterAffinity, o.ReadTargetWebSockets = 0, false
		return o
	}
	return a.TargetCA == b.TargetCA && reflect.DeepEqual(reach(a), reach(b))
}
