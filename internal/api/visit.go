package api

import (
	"fmt"
	"strings"
)

// Bounds of the requests that a new release is asked before it takes traffic.
const (
	MaxVisitPaths       = 20
	DefaultWarmRequests = 3
	MaxWarmRequests     = 100
)

// Visit is what a target has answered to a request for a page before it takes traffic.
type Visit struct {
	Target string `json:"target"`
	Path   string `json:"path"`
	// Status is that of the answer; absent if there was none.
	Status  int     `json:"status,omitempty"`
	Elapsed Seconds `json:"elapsed_seconds"`
	// Reason says what went wrong, if there was no whole answer.
	Reason string `json:"reason,omitempty"`
}

// OK reports whether a visitor would have got a page.
func (v Visit) OK() bool { return v.Reason == "" && v.Status < 400 }

// String says what has come of the visit.
func (v Visit) String() string {
	if v.Reason != "" {
		return fmt.Sprintf("GET %s: %s", v.Path, v.Reason)
	}
	return fmt.Sprintf("GET %s: %d", v.Path, v.Status)
}

// resolveVisits checks the pages that are asked for before the switch.
func (r DeployRequest) resolveVisits(s *Spec) error {
	for field, paths := range map[Field][]string{"warm": r.Warm, "smoke": r.Smoke} {
		if len(paths) > MaxVisitPaths {
			return Invalid("%s has at most %d paths", field, MaxVisitPaths)
		}
		for _, path := range paths {
			if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, IsControl) || len(path) > 2048 {
				return Invalid("%.64q is not a path; begin it with a slash, as in /login", path)
			}
			if len(s.Targets) > 0 {
				if _, err := s.Targets[0].URL(path); err != nil {
					return Invalid("%.64q is not a valid URL path", path)
				}
			}
		}
	}
	if n := s.Options.WarmRequests; n < 1 || n > MaxWarmRequests {
		return Invalid("%s is out of bounds; it has to be from 1 to %d", Field("warm_requests"), MaxWarmRequests)
	}
	s.Options.Warm, s.Options.Smoke = r.Warm, r.Smoke
	return nil
}
