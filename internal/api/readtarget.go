package api

import (
	"slices"
	"time"
)

// DefaultWriterAffinity is the default of [DeployRequest.WriterAffinity].
const DefaultWriterAffinity = Duration(time.Second)

// resolveReadTargets adds the read targets, which have the form of targets.
func (r DeployRequest) resolveReadTargets(s *Spec) error {
	if len(r.Targets)+len(r.ReadTargets) > MaxTargets {
		return Invalid("a release can have at most %d targets, not %d", MaxTargets, len(r.Targets)+len(r.ReadTargets))
	}
	var err error
	if s.ReadTargets, err = parseTargets(r.ReadTargets, s.Targets); err != nil {
		return err
	}
	if len(s.ReadTargets) == 0 && r.ReadTargetWebSockets {
		return Invalid("%s needs %s", Field("read_target_websockets"), Field("read_targets"))
	}
	return nil
}

// TargetNames returns the addresses of targets.
func TargetNames(targets []Target) []string {
	var names []string
	for _, t := range targets {
		names = append(names, t.String())
	}
	return names
}

// AllTargets returns the targets of the release, and after them those that only read.
func (s *Spec) AllTargets() []Target { return slices.Concat(s.Targets, s.ReadTargets) }
