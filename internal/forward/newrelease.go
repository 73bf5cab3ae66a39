package forward

import (
	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/errorpage"
)

// NewRelease returns a release that has no traffic yet. It opens nothing.
func (f *Forwarder) NewRelease(s api.Spec) *Release {
	r := &Release{Spec: s, forwarder: f, plain: true, Traffic: new(Traffic)}
	if s.Options.TargetCA != "" {
		r.roots = rootsOf(s)
	}
	if s.ErrorPages != nil {
		r.pages, _ = errorpage.Parse(s.ErrorPages) // which the deploy has done before
	}
	if o := &s.Options; len(o.LogRequestHeaders)+len(o.LogResponseHeaders) > 0 {
		r.logged = &LoggedFields{o.LogRequestHeaders, o.LogResponseHeaders}
	}
	if s.Options.InterceptErrors != "" {
		r.intercepted, _ = api.ParseStatusRanges(s.Options.InterceptErrors) // as above
	}
	for _, t := range s.AllTargets() {
		r.plain = r.plain && t.Scheme == "http"
		r.upstreams = append(r.upstreams, newUpstream(t, r))
	}
	r.passes = r.passesThrough()
	return r
}

func newUpstream(t api.Target, r *Release) *upstream {
	u := &upstream{target: t}
	u.holders.Store(1)
	u.monitor.of = r
	if mayMove(t) {
		u.name = new(targetName)
	}
	u.transport = newTransport(u, r)
	return u
}
