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

// historyFormat is the version of the history that this program writes.
const historyFormat = 1

// history is what is stored of the releases of a service, the newest first. It is beside
// the document, and never needed to serve: one that cannot be read is begun anew.
type history struct {
	Format   int           `json:"format"`
	Releases []pastRelease `json:"releases"`
}

// pastRelease is a release as its document had it, and what became of it.
type pastRelease struct {
	Release    int             `json:"release"`
	DeployedAt time.Time       `json:"deployed_at"`
	ReplacedAt *time.Time      `json:"replaced_at,omitempty"`
	From       int             `json:"from,omitempty"`
	Targets    []string        `json:"targets"`
	Hosts      []string        `json:"hosts,omitempty"`
	Options    json.RawMessage `json:"options"`
	Note       api.Note        `json:"note,omitzero"`
	Served     int64           `json:"served,omitempty"`
}

func pastReleaseOf(r *release) (pastRelease, error) {
	options, err := json.Marshal(r.Spec.Options)
	return pastRelease{
		Release: r.Version, DeployedAt: r.DeployedAt, From: r.from,
		Targets: r.Targets(), Hosts: r.Spec.Hosts, Options: options, Note: r.Spec.Note,
	}, err
}

// remember adds a release that serves now to the history of its service, in place of old,
// which may be nil, or of itself if it has lost routes. That it cannot be written is no
// reason to undo a switch.
func (e *Engine) remember(old, next *release) {
	if err := e.addToHistory(old, next); err != nil {
		e.log().Warn("the history of a service could not be written", zap.String("service", next.Spec.Service), zap.Error(err))
	}
}

func (e *Engine) addToHistory(old, next *release) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	name := next.Spec.Service
	h := e.loadHistory(ctx, name)
	if old != nil {
		i := slices.IndexFunc(h.Releases, func(p pastRelease) bool { return p.Release == old.Version })
		if i < 0 {
			before, err := pastReleaseOf(old)
			if err != nil {
				return err
			}
			h.Releases, i = slices.Insert(h.Releases, 0, before), 0
		}
		h.Releases[i].ReplacedAt, h.Releases[i].Served = &next.DeployedAt, old.Served.Load()
	}
	now, err := pastReleaseOf(next)
	if err != nil {
		return err
	}
	if len(h.Releases) > 0 && h.Releases[0].Release == next.Version {
		h.Releases = h.Releases[1:] // others have taken routes from it
	}
	h.Releases = slices.Insert(h.Releases, 0, now)
	for i := 1; i < len(h.Releases); i++ {
		if h.Releases[i].ReplacedAt == nil { // the proxy was killed before it could be written
			h.Releases[i].ReplacedAt = &h.Releases[i-1].DeployedAt
		}
	}
	h.Releases = h.Releases[:min(len(h.Releases), api.MaxPastReleases)]
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return e.currentStore().SaveHistory(ctx, name, b)
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
	if len(h.Releases) == 0 || h.Releases[0].Release != active.Version {
		// It was deployed by a program that kept no history.
		if now, err := pastReleaseOf(active); err == nil {
			h.Releases = slices.Insert(h.Releases, 0, now)
		}
	}
	for i, p := range h.Releases {
		var o api.Options
		if err := json.Unmarshal(p.Options, &o); err != nil {
			continue
		}
		if i == 0 {
			p.Served = active.Served.Load()
		}
		all.Releases = append(all.Releases, api.PastRelease{
			Release: p.Release, DeployedAt: p.DeployedAt, ReplacedAt: p.ReplacedAt, From: p.From,
			Targets: p.Targets, Hosts: p.Hosts, Options: o, Note: p.Note, Served: p.Served,
		})
	}
	return all, nil
}

// serving returns the release that serves a service, or an [api.Error] with
// [api.CodeNotFound].
func (e *Engine) serving(name string) (*release, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	svc := e.services[name]
	if svc == nil {
		return nil, e.noSuchService(name)
	}
	if r := svc.release(); r != nil {
		return r, nil
	}
	return nil, &api.Error{Code: api.CodeNotFound, Message: "the service " + name + " serves nothing yet"}
}
