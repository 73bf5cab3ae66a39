package api

import (
	"fmt"
	"maps"
	"strings"
)

// Plan is what a deploy would do.
type Plan struct {
	Service string `json:"service"`
	// Serving is the number of the release that serves now; 0 if none does.
	Serving int `json:"serving,omitempty"`
	// Changes are the targets and settings that would differ from those of the release
	// that serves, or from the defaults without one, each as "name: old -> new". Of a file
	// that keeps its name, it is "name: the file has changed".
	Changes []string `json:"changes"`
	// Warnings are what the deploy would warn of; see [Warnings].
	Warnings []string `json:"warnings,omitempty"`
	// Rollout is how the release would be brought into service, if not all at once.
	Rollout *Rollout `json:"rollout,omitempty"`
	// UnderWay is the release that is being brought into service now; 0 if none is. A deploy
	// takes its place, unless it is what the deploy asks for: then Serving has its number.
	UnderWay int `json:"under_way,omitempty"`
	// TakenOver tells of the routes that would come from other services.
	TakenOver []TakenOver `json:"taken_over,omitempty"`
}

// Changed reports whether the deploy would do more than serve what is served already. Where
// nothing serves, as with a service that could not be loaded, every deploy does.
func (p Plan) Changed() bool { return p.Serving == 0 || len(p.Changes)+len(p.TakenOver) > 0 }

// NewPlan returns the plan of a deploy of next on a service whose release serving, 0 for
// none, is of the spec now, which is nil without one.
func NewPlan(serving int, now *Spec, next Spec) Plan {
	p := Plan{Service: next.Service, Serving: serving, Changes: []string{}, Rollout: next.Rollout}
	if now == nil {
		p.Warnings = Warnings(next.Service, nil, next.Options)
		plain := defaultOptions(next.Options.TLS != nil)
		plain.TLS = nil
		now = &Spec{Options: plain}
	} else {
		p.Warnings = Warnings(next.Service, &now.Options, next.Options)
	}
	if from, to := targetList(now.Targets), targetList(next.Targets); from != to {
		p.Changes = append(p.Changes, fmt.Sprintf("targets: %s -> %s", from, to))
	}
	if from, to := targetList(now.ReadTargets), targetList(next.ReadTargets); from != to {
		p.Changes = append(p.Changes, fmt.Sprintf("read-targets: %s -> %s", from, to))
	}
	p.Changes = append(p.Changes, Changes(now.Hosts, now.Options, next.Hosts, next.Options)...)
	// A release keeps what it has read of the file. Files of certificates are read again
	// as they change, and need no deploy.
	if now.Options.TargetCA == next.Options.TargetCA && now.TargetCA != next.TargetCA {
		p.Changes = append(p.Changes, "target-ca: the file has changed")
	}
	if now.Options.ErrorPages == next.Options.ErrorPages && !maps.Equal(now.ErrorPages, next.ErrorPages) {
		p.Changes = append(p.Changes, "error-pages: the files have changed")
	}
	return p
}

func targetList(targets []Target) string {
	if len(targets) == 0 {
		return "none"
	}
	return strings.Join(TargetNames(targets), ",")
}
