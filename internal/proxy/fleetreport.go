package proxy

import (
	"cmp"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Report is what one proxy of a fleet tells the others of itself.
type Report struct {
	// Applied is the revision up to which it goes by what was decided, but for the services that Behind names.
	// Whoever sends the report sets both.
	Applied uint64   `json:"applied,omitempty"`
	Behind  []string `json:"behind,omitempty"`
	// Follows says that it reaches the store of the fleet, and has done what it could of what was decided. Whoever
	// sends the report sets it.
	Follows bool `json:"follows,omitempty"`
	// Services are those that have a rollout, or a release on standby, those that drain, and those of which something was
	// cut lately: of a service that is not there, nothing does, nor was it.
	Services []ServiceReport `json:"services,omitempty"`
	// More says that there are more of them than fit.
	More bool `json:"more,omitempty"`
}

// ServiceReport is what it tells of one service.
type ServiceReport struct {
	Service string `json:"service"`
	// Draining are the releases that still have traffic; 0 stands for those of a process that this one has taken
	// over from.
	Draining []int `json:"draining,omitempty"`
	// Cut is what had to be cut of releases that have drained; 0 stands for those of a process that this one has
	// taken over from.
	Cut []ReleaseCut `json:"cut,omitempty"`
	// Trial is what it has counted of a rollout; nil without one.
	Trial *Trial `json:"trial,omitempty"`
}

// ReleaseCut is what had to be cut of one release.
type ReleaseCut struct {
	Release int `json:"release"`
	api.Cut
}

// Drain returns it as the drain of the release.
func (c ReleaseCut) Drain() api.Drain {
	return api.Drain{Release: c.Release, Requests: c.Requests, Streams: c.Streams, CutRequests: c.Requests, CutStreams: c.Streams}
}

// toldCut is a cut that is told until a time.
type toldCut struct {
	ReleaseCut
	until time.Time
}

// cutMargin is for how much longer is told what was cut than the drain of another proxy can take: whoever waits for all of them
// reads what they tell when its own drain is over.
const cutMargin = 2 * time.Minute

// noteCut has the fleet be told of what was cut in a drain with limits. Engine.mu must be held.
func (e *Engine) noteCut(svc *service, d api.Drain, limits api.DrainLimits) {
	if e.fleet == nil || d.Clean() {
		return
	}
	told := toldCut{ReleaseCut{d.Release, *api.CutOf(d)}, time.Now().Add(limits.Requests + limits.Streams + cutMargin)}
	svc.cuts = append(svc.cuts[max(0, len(svc.cuts)-keptDrains+1):], told)
}

// toldCuts returns what is to be told of cuts, and forgets what is not any more. Engine.mu must be held.
func (s *service) toldCuts(now time.Time) (all []ReleaseCut) {
	s.cuts = slices.DeleteFunc(s.cuts, func(c toldCut) bool { return now.After(c.until) })
	for _, c := range s.cuts {
		all = append(all, c.ReleaseCut)
	}
	return all
}

// Trial is what one proxy knows of a rollout by which its fleet judges it.
type Trial struct {
	// Release is the one that is tried. Phase and Era say since when it is counted: counts of others are of something
	// else.
	Release int              `json:"release"`
	Phase   api.RolloutPhase `json:"phase"`
	Era     int              `json:"era,omitempty"`
	Counted
	// NoWayBack says why it cannot be gone back; empty if it can, or if this is not the proxy that decides.
	NoWayBack string `json:"no_way_back,omitempty"`
	// Gone are the counts of processes that are not there any more, by their ids: a proxy that was restarted gets its own
	// back by that.
	Gone map[string]Counted `json:"gone,omitempty"`
}

// State returns the report without the counts, which change all the time.
func (r *Report) State() Report {
	state := *r
	state.Services = slices.Clone(r.Services)
	for i := range state.Services {
		state.Services[i].Trial = nil
	}
	return state
}

// maxReported bounds the services of a report, which goes to every proxy.
const maxReported = 200

// Service returns what the report tells of a service; the zero value if that is nothing.
func (r *Report) Service(name string) ServiceReport {
	for _, s := range r.Services {
		if s.Service == name {
			return s
		}
	}
	return ServiceReport{Service: name}
}

// FleetReport returns what this proxy tells the others of its fleet.
func (e *Engine) FleetReport() (all Report) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for name, svc := range e.services {
		elsewhere := e.drainsElsewhere[name] > 0
		cut := svc.toldCuts(now)
		if len(svc.draining) == 0 && len(cut) == 0 && !elsewhere && !svc.lineup().isTried() {
			continue
		}
		if all.More = len(all.Services) == maxReported; all.More {
			break
		}
		s := ServiceReport{Service: name, Cut: cut}
		if l := svc.lineup(); l != nil && l.rollout != nil {
			s.Trial = l.rollout.trial()
		}
		for _, r := range svc.draining {
			s.Draining = append(s.Draining, r.Version)
		}
		if elsewhere {
			s.Draining = append(s.Draining, 0)
		}
		all.Services = append(all.Services, s)
	}
	slices.SortFunc(all.Services, func(a, b ServiceReport) int { return cmp.Compare(a.Service, b.Service) })
	return all
}

// reportFollowers has the report tell of each service as long as the processes that follow this one hold anything of
// a release that had left before this one took over.
func (e *Engine) reportFollowers() {
	if e.fleet == nil || e.opts.Followers == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, svc := range e.services {
		e.drainsElsewhere[name]++
		go func() { // for no longer than those processes last
			drains := e.drainFollowers(name)
			e.mu.Lock()
			defer e.mu.Unlock()
			var limits api.DrainLimits
			if r := svc.release(); r != nil {
				limits = r.Spec.Options.Drain()
			}
			for _, d := range drains {
				e.noteCut(svc, d, limits)
			}
			if e.drainsElsewhere[name]--; e.drainsElsewhere[name] == 0 {
				delete(e.drainsElsewhere, name)
			}
		}()
	}
}
