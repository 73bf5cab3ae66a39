package proxy

import (
	"slices"

	"github.com/parachute-proxy/parachute/internal/api"
)

// lineup is what becomes of the requests for a service at a moment. It is immutable: every
// change of it is stored first, and is then one store in the claim of the service.
type lineup struct {
	// active is the release that serves.
	active *release
	// candidate serves a share of the clients instead; nil without a canary.
	candidate *candidate
	// standby gets no new requests, but is ready to serve again; nil if there is none.
	standby *release
	// rollout brings the candidate into service, or watches active; nil if nothing does.
	rollout *rollout
	// hold says that requests are not served; nil if they are.
	hold *hold
	// ended is how the release has ended that was tried last, for the other proxies of a fleet; nil without a fleet,
	// and if none has since the last deployment.
	ended *ending
	// linkKey signs the links that open what not everybody gets; nil if everybody gets the
	// same.
	linkKey []byte
}

// releases returns all releases that have a part in l, which may be nil.
func (l *lineup) releases() []*release {
	if l == nil {
		return nil
	}
	all := []*release{l.active}
	if l.candidate != nil {
		all = append(all, l.candidate.release)
	}
	if l.standby != nil {
		all = append(all, l.standby)
	}
	return all
}

// without returns the releases of l that have no part in next. Either may be nil.
func (l *lineup) without(next *lineup) (left []*release) {
	for _, r := range l.releases() {
		if !slices.Contains(next.releases(), r) {
			left = append(left, r)
		}
	}
	return left
}

// ending is how a release has ended that was tried: what a proxy cannot tell that sees only what became of the
// service.
type ending struct {
	Release int     `json:"release"`
	How     endKind `json:"how"`
	// Outcome is what the history of the service says of it; empty if it was trusted, or was replaced when it served.
	Outcome api.Outcome `json:"outcome,omitempty"`
	Reason  string      `json:"reason,omitempty"`
}

// isTried reports whether l, which may be nil, has a release that is not trusted yet, or one that is ready to serve
// again.
func (l *lineup) isTried() bool { return l != nil && (l.rollout != nil || l.standby != nil) }

// settled returns l with active alone, held as before: without what is tried and what is kept.
func (l *lineup) settled(active *release) lineup { return lineup{active: active, hold: l.hold} }

// rolloutStatus describes the rollout of l; nil if there is none.
func (l *lineup) rolloutStatus() *api.RolloutStatus {
	s := l.rollout.status(l.hold != nil)
	if s != nil && l.candidate != nil {
		s.Values, s.Off = l.candidate.values, l.candidate.off
	}
	return s
}

// lastVersion returns the number of the newest release: that of l, or last.
func (l *lineup) lastVersion(last int) int {
	for _, r := range l.releases() {
		last = max(last, r.Version)
	}
	return last
}

// activeVersion returns the number of the release that serves; 0 for nil.
func (l *lineup) activeVersion() int {
	if l == nil {
		return 0
	}
	return l.active.Version
}

// holdOf returns the hold of l, which may be nil.
func (l *lineup) holdOf() *hold {
	if l == nil {
		return nil
	}
	return l.hold
}

// candidateRelease returns the release of the candidate, or nil.
func (l *lineup) candidateRelease() *release {
	if l.candidate == nil {
		return nil
	}
	return l.candidate.release
}

// sign gives l a key for links, if not everybody gets the same: the one of before, if there is
// one.
func (l *lineup) sign(before *lineup) {
	switch {
	case l.candidate == nil && l.hold == nil:
		l.linkKey = nil
	case before != nil && before.linkKey != nil && before.candidateRelease() == l.candidateRelease():
		l.linkKey = before.linkKey // which is no good for another candidate
	default:
		l.linkKey = newLinkKey()
	}
}
