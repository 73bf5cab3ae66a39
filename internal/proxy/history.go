package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// historyFormat is the newest version of the history that this program writes. As with
// documents, it writes the oldest that the history can be said in.
const historyFormat = 2

// history is what is stored of the releases of a service, the newest first. It is beside
// the document, and never needed to serve: one that cannot be read is begun anew.
type history struct {
	Format   int           `json:"format"`
	Releases []pastRelease `json:"releases"`
}

// pastRelease is a release as its document had it, and what became of it.
type pastRelease struct {
	Release     int             `json:"release"`
	DeployedAt  time.Time       `json:"deployed_at"`
	ReplacedAt  *time.Time      `json:"replaced_at,omitempty"`
	From        int             `json:"from,omitempty"`
	Targets     []string        `json:"targets"`
	ReadTargets []string        `json:"read_targets,omitempty"`
	Hosts       []string        `json:"hosts,omitempty"`
	Options     json.RawMessage `json:"options"`
	Note        api.Note        `json:"note,omitzero"`
	Served      int64           `json:"served,omitempty"`
	Failures    int64           `json:"failures,omitempty"`
	// Outcome and Reason are why it has left before it was trusted.
	Outcome api.Outcome `json:"outcome,omitempty"`
	Reason  string      `json:"reason,omitempty"`
	// Guarded says that the settings ask for handlers, or for certificates of clients. It is
	// since format 2: a program that does not know of them would go back to a release without.
	Guarded bool `json:"guarded,omitempty"`
}

func pastReleaseOf(r *release) (pastRelease, error) {
	options, err := json.Marshal(r.Spec.Options)
	return pastRelease{
		Release: r.Version, DeployedAt: r.DeployedAt, From: r.from,
		Targets: api.TargetNames(r.Spec.Targets), ReadTargets: api.TargetNames(r.Spec.ReadTargets), Hosts: r.Spec.Hosts, Options: options, Note: r.Spec.Note,
		Guarded: r.Spec.Options.Guards(),
	}, err
}

// remember adds a release that serves now to the history of its service, in place of old,
// which may be nil, at the time of the switch, or of itself if it has lost routes. That it cannot be written is no
// reason to undo a switch.
func (e *Engine) remember(old, next *release, at time.Time) {
	if err := e.addToHistory(old, next, at); err != nil {
		e.log().Warn("the history of a service could not be written", zap.String("service", next.Spec.Service), zap.Error(err))
	}
}

func (e *Engine) addToHistory(old, next *release, at time.Time) error {
	return e.changeHistory(next.Spec.Service, func(h *history) error {
		if old != nil {
			i, err := h.find(old)
			if err != nil {
				return err
			}
			h.Releases[i].end(old, at)
		}
		i, err := h.find(next)
		if err != nil {
			return err
		}
		now, err := pastReleaseOf(next) // others may have taken routes from it
		if err != nil {
			return err
		}
		h.Releases[i] = now
		for j := range h.Releases {
			if p := &h.Releases[j]; j != i && p.ReplacedAt == nil { // the proxy was killed before it could be written
				p.ReplacedAt = &at
			}
		}
		return nil
	})
}

// rememberOutcome adds to the history of a service that a release has left again before it
// was trusted, and that another one serves.
func (e *Engine) rememberOutcome(left, serving *release, outcome api.Outcome, reason string) {
	err := e.changeHistory(left.Spec.Service, func(h *history) error {
		i, err := h.find(left)
		if err != nil {
			return err
		}
		h.Releases[i].end(left, time.Now().UTC())
		h.Releases[i].Outcome, h.Releases[i].Reason = outcome, reason
		if i, err = h.find(serving); err == nil {
			h.Releases[i].ReplacedAt = nil
		}
		return err
	})
	if err != nil {
		e.log().Warn("the history of a service could not be written", zap.String("service", left.Spec.Service), zap.Error(err))
	}
}

// changeHistory stores a history that change has changed. The commit slot of the service must
// be held.
func (e *Engine) changeHistory(service string, change func(*history) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	h := e.loadHistory(ctx, service)
	if err := change(&h); err != nil {
		return err
	}
	h.Releases = h.Releases[:min(len(h.Releases), api.MaxPastReleases)]
	h.Format = 1
	if slices.ContainsFunc(h.Releases, func(p pastRelease) bool { return p.Guarded }) {
		h.Format = 2
	}
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return e.currentStore().SaveHistory(ctx, service, b)
}

// find returns the place of a release, which it gives one if it has none: the newest is first.
func (h *history) find(r *release) (int, error) {
	for i, p := range h.Releases {
		if p.Release == r.Version {
			return i, nil
		}
	}
	p, err := pastReleaseOf(r)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(h.Releases, func(p pastRelease) bool { return p.Release < r.Version })
	if i < 0 {
		i = len(h.Releases)
	}
	h.Releases = slices.Insert(h.Releases, i, p)
	return i, nil
}

// end notes that r, which p tells of, was replaced.
func (p *pastRelease) end(r *release, at time.Time) {
	p.ReplacedAt, p.Served = &at, r.Served.Load()
	_, p.Failures = r.Outcomes().Counts()
}

// loadHistory returns the stored history of a service, an empty one if there is none that
// can be read.
func (e *Engine) loadHistory(ctx context.Context, name string) history {
	empty := history{Format: historyFormat}
	b, err := e.currentStore().LoadHistory(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return empty
	}
	var h history
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err == nil && (h.Format < 1 || h.Format > historyFormat) {
		err = fmt.Errorf("format %d is not known", h.Format)
	}
	if err != nil {
		e.log().Warn("the history of a service cannot be read, and starts again", zap.String("service", name), zap.Error(err))
		return empty
	}
	return h
}

// History returns the releases of a service, the newest first, or an [api.Error] with
// [api.CodeNotFound].
func (e *Engine) History(ctx context.Context, name string) (api.History, error) {
	active, err := e.serving(name)
	if err != nil {
		return api.History{}, err
	}
	all := api.History{Service: name, Releases: []api.PastRelease{}}
	h := e.loadHistory(ctx, name)
	inService := map[int]*release{active.Version: active}
	if candidate := e.candidateOf(name); candidate != nil {
		inService[candidate.Version] = candidate
	}
	// A canary is not decided yet, and the active release may have been deployed by a program
	// that kept no history.
	for _, r := range inService {
		if _, err := h.find(r); err != nil {
			return api.History{}, err
		}
	}
	for _, p := range h.Releases {
		var o api.Options
		if err := json.Unmarshal(p.Options, &o); err != nil {
			continue
		}
		if r := inService[p.Release]; r != nil {
			p.ReplacedAt, p.Served = nil, r.Served.Load()
			_, p.Failures = r.Outcomes().Counts()
			if r != active {
				p.Outcome = api.OutcomeCanary
			}
		}
		all.Releases = append(all.Releases, api.PastRelease{
			Release: p.Release, DeployedAt: p.DeployedAt, ReplacedAt: p.ReplacedAt, From: p.From,
			Targets: p.Targets, ReadTargets: p.ReadTargets, Hosts: p.Hosts, Options: o, Note: p.Note, Served: p.Served,
			Outcome: p.Outcome, Reason: p.Reason, Failures: p.Failures,
		})
	}
	return all, nil
}
