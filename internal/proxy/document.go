package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// documentFormat is the newest version of the document that this program writes. It
// reads every older one, and writes the oldest that the state can be said in: whoever
// goes back to an older program finds it readable.
const documentFormat = 5

// document is what is stored of a service: its line-up. It is a type of
// its own, because what is on disk outlives what is in memory.
type document struct {
	Format  int    `json:"format"`
	Service string `json:"service"`
	storedRelease
	// TakenFrom are the services that this one has taken routes from: if a document of theirs
	// has them as well, it is older than that.
	TakenFrom []string `json:"taken_from,omitempty"`
	// Hold says that the requests for the service are held. This and what follows is since
	// format 2.
	Hold *api.Hold `json:"hold,omitempty"`
	// Candidate is a release that gets a share of the clients, Standby one that is ready to
	// serve again, and Rollout what brings a release into service.
	Candidate *storedCandidate `json:"candidate,omitempty"`
	Standby   *storedRelease   `json:"standby,omitempty"`
	Rollout   *storedRollout   `json:"rollout,omitempty"`
	// LinkKey signs the links that open what not everybody gets.
	LinkKey []byte `json:"link_key,omitempty"`
	// LastRelease is the number of the newest release, if that has left again.
	LastRelease int `json:"last_release,omitempty"`
	// Ended is how the release has ended that was tried last. It is since format 5, and in a fleet alone.
	Ended *ending `json:"ended,omitempty"`
}

// storedRelease is what is stored of a release.
type storedRelease struct {
	Release    int       `json:"release"`
	DeployedAt time.Time `json:"deployed_at"`
	Targets    []string  `json:"targets"`
	// ReadTargets are those that get nothing but requests that read.
	ReadTargets []string `json:"read_targets,omitempty"`
	Hosts       []string `json:"hosts,omitempty"`
	// Options are those of the release. They have the names that they have in a request,
	// and are read as one: what an older program has not stored has its default.
	Options json.RawMessage `json:"options"`
	// Certified says that there were certificates before the release took traffic.
	Certified bool `json:"certified,omitempty"`
	// KeyPair is the certificate of the service's own, as its files had it.
	KeyPair *pemPair `json:"key_pair,omitempty"`
	// From is the release that was rolled back to; 0 if it was no rollback.
	From int      `json:"from,omitempty"`
	Note api.Note `json:"note,omitzero"`
	// TargetCA are the authorities of the targets, as their file had them.
	TargetCA string `json:"target_ca,omitempty"`
	// ErrorPages are the files of the pages of the service's own, by their names. They are since
	// format 3.
	ErrorPages map[string]string `json:"error_pages,omitempty"`
	// Handlers are what requests pass on their way to a target, as the host has made it of
	// Options. It is since format 3: a program that does not know it would serve without.
	Handlers json.RawMessage `json:"handlers,omitempty"`
}

// storedCandidate is a release that gets a share of the clients.
type storedCandidate struct {
	storedRelease
	Weight api.Percent `json:"weight"`
	Salt   uint64      `json:"salt,string"`
	// Values and Off are those of [candidate]. They are since format 4, as is a cookie of the
	// application's in the settings of a rollout.
	Values []string `json:"values,omitempty"`
	Off    bool     `json:"off,omitempty"`
}

// storedRollout is how a release is brought into service, and how far that has come.
type storedRollout struct {
	Settings api.Rollout `json:"settings"`
	Position position    `json:"position"`
}

// ErrNewerFormat means that a document was written by a newer version of this
// program. It must not be guessed at, nor overwritten.
var ErrNewerFormat = errors.New("written by a newer version of parachute")

// encodeLineup returns the document of a service. last is the number of its newest release.
func encodeLineup(l *lineup, last int) ([]byte, error) {
	active, err := storedOf(l.active)
	if err != nil {
		return nil, err
	}
	doc := document{Format: 1, Service: l.active.Spec.Service, storedRelease: active, TakenFrom: l.active.takenFrom, LinkKey: l.linkKey}
	if last > l.lastVersion(0) {
		doc.Format, doc.LastRelease = 2, last
	}
	if l.hold != nil {
		doc.Format, doc.Hold = 2, &l.hold.Hold
	}
	if c := l.candidate; c != nil {
		stored, err := storedOf(c.release)
		if err != nil {
			return nil, err
		}
		doc.Format, doc.Candidate = 2, &storedCandidate{storedRelease: stored, Weight: c.weight, Salt: c.salt, Values: c.values, Off: c.off}
	}
	if l.standby != nil {
		stored, err := storedOf(l.standby)
		if err != nil {
			return nil, err
		}
		doc.Format, doc.Standby = 2, &stored
	}
	if l.rollout != nil {
		doc.Format, doc.Rollout = 2, &storedRollout{Settings: l.rollout.spec, Position: l.rollout.position()}
	}
	if slices.ContainsFunc(l.releases(), func(r *release) bool { return r.Spec.Options.Guards() || r.Spec.ErrorPages != nil }) {
		doc.Format = 3
	}
	if l.candidate != nil && (l.candidate.named || l.candidate.off) {
		doc.Format = 4
	}
	if l.ended != nil || l.rollout != nil && l.rollout.position().Turn > 0 {
		doc.Format, doc.Ended = 5, l.ended
	}
	return json.MarshalIndent(doc, "", "  ")
}

// storedOf returns what is stored of a release.
func storedOf(r *release) (storedRelease, error) {
	options, err := json.Marshal(r.Spec.Options)
	if err != nil {
		return storedRelease{}, err
	}
	s := storedRelease{
		Release:     r.Version,
		DeployedAt:  r.DeployedAt,
		Targets:     api.TargetNames(r.Spec.Targets),
		ReadTargets: api.TargetNames(r.Spec.ReadTargets),
		Hosts:       r.Spec.Hosts,
		Options:     options,
		Certified:   r.certified.Load(),
		From:        r.from,
		Note:        r.Spec.Note,
		TargetCA:    r.Spec.TargetCA,
		Handlers:    r.Spec.Handlers,
		ErrorPages:  r.Spec.ErrorPages,
	}
	if r.keyPair != nil {
		if loaded := r.keyPair.current.Load(); loaded != nil { // there may be none after a start
			s.KeyPair = &loaded.pem
		}
	}
	return s, nil
}

// stored is a document with the specs of its releases.
type stored struct {
	document
	active api.Spec
	// candidate and standby are nil if there are none.
	candidate, standby *api.Spec
}

// decodeDocument returns what a document describes. It goes through the same validation as
// requests, since a document may have been edited.
func decodeDocument(name string, b []byte) (stored, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return stored{}, fmt.Errorf("decoding the document: %w", err)
	}
	if version.Format > documentFormat {
		return stored{}, fmt.Errorf("format %d: %w", version.Format, ErrNewerFormat)
	}
	if version.Format < 1 {
		return stored{}, errors.New("decoding the document: it has no format")
	}
	if reason := brokenReason(b); reason != "" {
		return stored{}, errors.New(reason)
	}
	var doc document
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return stored{}, fmt.Errorf("decoding the document: %w", err)
	}
	if doc.Service != name {
		return stored{}, fmt.Errorf("the document is of the service %q", doc.Service)
	}
	if doc.Hold != nil {
		if err := doc.Hold.Validate(); err != nil {
			return stored{}, err
		}
	}
	all := stored{document: doc}
	var err error
	if all.active, err = doc.spec(name); err != nil {
		return stored{}, err
	}
	if doc.Candidate != nil {
		spec, err := doc.Candidate.spec(name)
		if err != nil {
			return stored{}, fmt.Errorf("the candidate: %w", err)
		}
		if err := api.ValidateCanaryValues(doc.Candidate.Values); err != nil {
			return stored{}, err
		}
		all.candidate = &spec
	}
	if doc.Standby != nil {
		spec, err := doc.Standby.spec(name)
		if err != nil {
			return stored{}, fmt.Errorf("the release on standby: %w", err)
		}
		all.standby = &spec
	}
	return all, all.checkRollout()
}

// newest returns the number of the newest release that s tells of.
func (s *stored) newest() int {
	last := max(s.Release, s.LastRelease)
	if s.Candidate != nil {
		last = max(last, s.Candidate.Release)
	}
	if s.Standby != nil {
		last = max(last, s.Standby.Release)
	}
	return last
}

// rollsBack reports whether somebody has rolled back a release of the line-up before, which may be nil.
func (s *stored) rollsBack(before *lineup) bool {
	return s.Ended != nil && s.Ended.Reason == rolledBackByHand &&
		slices.ContainsFunc(before.releases(), func(r *release) bool { return r.Version == s.Ended.Release })
}

// checkRollout returns an error if the parts of a line-up do not go together.
func (s *stored) checkRollout() error {
	out := s.Rollout
	if out == nil {
		if s.candidate != nil {
			return errors.New("there is a candidate without a rollout")
		}
		return nil
	}
	if err := out.Settings.Validate(); err != nil {
		return err
	}
	at := out.Position
	ok := at.Remaining >= 0 && at.Requests >= 0 && at.Failures >= 0 && at.Failures <= at.Requests
	switch at.Phase {
	case api.PhaseCanary:
		ok = ok && s.candidate != nil && s.standby == nil && at.Step >= 0 && at.Step < len(out.Settings.Steps)
	case api.PhaseSlowStart:
		ok = ok && s.candidate != nil && s.standby == nil && out.Settings.SlowStart > 0 && at.Remaining <= out.Settings.SlowStart
	case api.PhaseWatch:
		ok = ok && s.candidate == nil && s.standby != nil
	default:
		ok = false
	}
	if !ok {
		return errors.New("the rollout does not fit its releases, or is at no place that it could be at")
	}
	if s.candidate != nil && !sameRoutes(s.active.Routes, s.candidate.Routes) {
		return errors.New("the candidate has other routes than the release that serves")
	}
	return nil
}

// spec returns the spec of a release of the named service.
func (r *storedRelease) spec(name string) (api.Spec, error) {
	if r.Release < 1 {
		return api.Spec{}, fmt.Errorf("the document has the release %d", r.Release)
	}
	req, err := storedRequest(name, r.Targets, r.ReadTargets, r.Hosts, r.Options)
	if err != nil {
		return api.Spec{}, fmt.Errorf("decoding the settings: %w", err)
	}
	req.Note = &r.Note
	s, err := req.Resolve()
	if err == nil && s.Options.HasHandlers() && r.Handlers == nil {
		return api.Spec{}, errors.New("decoding the document: the handlers are missing that its settings ask for")
	}
	s.Handlers, s.ErrorPages = r.Handlers, r.ErrorPages
	return s, err
}

// storedRequest returns the request for a release of which these were stored. Options have the
// names that they have in a request.
func storedRequest(service string, targets, readTargets, hosts []string, options json.RawMessage) (api.DeployRequest, error) {
	req := api.DeployRequest{Service: service, Targets: targets, ReadTargets: readTargets, Hosts: hosts}
	err := json.Unmarshal(options, &req)
	return req, err
}

// save stores the line-up of a service. The commit slot must be held.
func (e *Engine) save(svc *service, l *lineup) error {
	e.mu.Lock()
	last := svc.lastVersion
	e.mu.Unlock()
	b, err := encodeLineup(l, last)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	name := l.active.Spec.Service
	err = e.currentStore().Save(ctx, name, b, func(document []byte) bool {
		_, err := decodeDocument(name, document)
		return err == nil
	})
	if err == nil {
		e.tellFollowers(name, b)
	}
	return err
}

// stored returns the release of l, which may be nil, that was stored in this way; nil if
// there is none. A certificate may have been renewed meanwhile.
func (l *lineup) stored(from *storedRelease) *release {
	if l == nil {
		return nil
	}
	for _, r := range l.releases() {
		if r.Version != from.Release {
			continue
		}
		own, err := storedOf(r)
		if err != nil {
			continue
		}
		wanted := *from
		own.Certified, own.KeyPair, wanted.Certified, wanted.KeyPair = false, nil, false, nil
		a, errA := json.Marshal(own)
		b, errB := json.Marshal(wanted)
		if errors.Join(errA, errB) == nil && bytes.Equal(a, b) {
			return r
		}
	}
	return nil
}
